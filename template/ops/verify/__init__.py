"""Whether the running deployment works, end to end: `verify`."""
