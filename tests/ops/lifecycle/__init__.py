"""The commands that start, show and stop a deployment, against a docker program that only answers."""
