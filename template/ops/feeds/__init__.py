"""The feed ledger: which feeds the deployment asked for, how old they are, what an image's distribution needs of them."""
