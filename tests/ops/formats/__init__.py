"""Tests of the formats: what a reader of each finds in it, and that no text from outside is anything but text."""
