"""What the receiver got, and one notification sent through the whole path."""
