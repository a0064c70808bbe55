"""A test double of Clair and clairctl: it answers like the original, and says that it is not the original.

It runs inside an image that carries Clair's name (`build.py` makes it), reads Clair's configuration, talks to PostgreSQL, fetches
layers and feeds, and answers like the recordings in `tests/doubles/recordings/`; tests compare it with them. Its release comes from
`CLAIR_DOUBLE_RELEASE`, which the image sets. Only Python's standard library, PyYAML and python3-zstandard are used.

`CLAIR_DOUBLE_TIME_FACTOR` divides every interval (polling, delivery, updater period): 60 turns a minute into a second. It is all that
tests can ask of it: what is to fail, fails for a reason that the original meets too.
"""

from __future__ import annotations
