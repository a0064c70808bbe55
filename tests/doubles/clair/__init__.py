"""A test double of Clair and clairctl: it answers like the original, and says that it is not the original.

It runs inside an image that carries Clair's name (`build.py` makes it), reads Clair's configuration, talks to PostgreSQL, fetches
layers and feeds, and answers like the recordings in `tests/doubles/recordings/`; tests compare it with them. Its release comes from
`CLAIR_DOUBLE_RELEASE`, which the image sets. Only Python's standard library, PyYAML and python3-zstandard are used.

Faults for tests, by environment variables (all are off when unset):

`CLAIR_DOUBLE_FAIL_MIGRATION`        id of the migration that fails, or `any`
`CLAIR_DOUBLE_NEVER_READY`           any value: the API and /readyz never come up, the process stays
`CLAIR_DOUBLE_READY_DELAY_SECONDS`   seconds between start and ready
`CLAIR_DOUBLE_DELAY_SECONDS`         seconds before every answer of the API
`CLAIR_DOUBLE_FAULT`                 rules `METHOD PATH-PREFIX FAULT [COUNT]`, separated by `;`. METHOD may be `*`. FAULT is a status
                                     (answered with an empty body), `drop` (the connection is closed without an answer), `truncate`
                                     (half of the real answer, then the connection is closed), `garbage` (200 with text that is no
                                     JSON) or `delay=SECONDS`. COUNT limits how often the rule applies.
`CLAIR_DOUBLE_TIME_FACTOR`           divides every interval (polling, delivery, updater period): 60 turns a minute into a second
`CLAIR_DOUBLE_FEED_TIMEOUT_SECONDS`  limit of one attempt to reach a feed (default 10)
"""

from __future__ import annotations
