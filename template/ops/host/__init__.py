"""This machine as the commands use it: Docker and Compose, files, the lock, the terminal, the formats that need a parser."""
