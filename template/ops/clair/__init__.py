"""Clair as a client sees it: tokens, its API through the edge, its reports, clairctl."""
