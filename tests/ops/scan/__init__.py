"""Tests of the scan, from an image's name to a verdict, against servers in this process that answer as recorded."""
