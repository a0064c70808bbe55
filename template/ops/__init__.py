"""Commands of this Clair deployment: `./clair COMMAND`, standard library only."""
