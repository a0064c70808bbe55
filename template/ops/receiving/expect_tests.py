"""Whether a notification of `notify-test` is expected: a file beside the database that holds when that ends.

Only until then a callback at `notifier-test`, the throwaway notifier, is taken.
"""

from __future__ import annotations

import time
from pathlib import Path

from .open_store import Store

NOTIFICATION_PATH = "/notifier/api/v1/notification/"
TEST_NOTIFIER = "http://notifier-test:6060"
_MAXIMUM_SECONDS = 3600


def is_expected(store: Store) -> bool:
    """Return whether a test is expected now."""
    try:
        return float(_flag(store).read_text(encoding="ascii")) > time.time()
    except (OSError, ValueError):
        return False


def expect(store: Store, seconds: int) -> None:
    """Expect a test for so many seconds, at most an hour; 0 ends it: what was not fetched never will be."""
    flag = _flag(store)
    if seconds > 0:
        flag.write_text(str(time.time() + min(seconds, _MAXIMUM_SECONDS)), encoding="ascii")
        return
    flag.unlink(missing_ok=True)
    with store.write() as connection:
        connection.execute(
            "UPDATE notification SET state = 'ended', error = 'test ended' WHERE test = 1 AND state = 'received'"
        )
        # Gone with its notifier: a deletion that did not come through is no fault any more.
        connection.execute(
            "UPDATE notification SET delete_at = NULL, error = '' WHERE test = 1 AND delete_at IS NOT NULL"
        )


def _flag(store: Store) -> Path:
    return store.path.with_name("expect-test")
