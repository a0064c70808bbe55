"""Image registries: names, platforms, credentials, manifests."""
