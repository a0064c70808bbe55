"""Local images under their real names, for machines that cannot pull them."""
