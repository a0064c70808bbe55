#!/bin/sh
# Starts the registry with the configuration file named as the command, as the official image does.
set -e

case "$1" in
  *.yaml | *.yml) set -- registry serve "$@" ;;
  serve | garbage-collect | help | -*) set -- registry "$@" ;;
esac
exec "$@"
