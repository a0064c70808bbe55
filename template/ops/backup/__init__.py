"""Dumps of the databases: made, kept, proven and loaded."""
