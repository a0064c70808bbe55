"""Measurements of this template, each a ratio against a floor of the same run: `make bench`."""
