#!/bin/sh
# Lets the command be flags alone, a subcommand of Traefik, or any other program, as the official image does.
set -e

case "$1" in
  -*) set -- traefik "$@" ;;
esac
if traefik "$1" --help > /dev/null 2>&1; then
  set -- traefik "$@"
else
  echo "= '$1' is not a Traefik command: assuming shell execution." >&2
fi
exec "$@"
