"""A verdict, or a fleet's run, in the formats that people and programs read."""
