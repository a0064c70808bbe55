"""Tests on a real Docker engine: a rendered deployment is started and used."""
