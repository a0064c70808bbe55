"""Stand-ins for what a test machine cannot have: images, Clair itself, and their recordings."""
