"""Feed packs, for a deployment without internet: `feeds-export` and `feeds-import`."""
