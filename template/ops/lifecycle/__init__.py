"""Starting, showing and removing the containers."""
