"""HTTP with a deadline: connections, the proxy, retries."""
