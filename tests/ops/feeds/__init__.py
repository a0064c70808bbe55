"""Tests of the ledger of feeds and of the packs that carry feeds to where no internet is."""
