"""A small deployment that shows itself: sample images, a sample feed, a server for both, and `make demo`."""
