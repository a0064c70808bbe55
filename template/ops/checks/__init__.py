"""What can be known before a start: `check`, and the checks of other commands."""
