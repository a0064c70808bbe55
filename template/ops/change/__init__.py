"""Safe change: restore, upgrade, database-upgrade and the way back, each with a journal under `state/`."""
