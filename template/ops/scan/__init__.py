"""The commands that scan: one image, one in the local Docker, a list of them."""
