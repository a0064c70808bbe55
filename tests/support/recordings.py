"""What real Clair said (tests/doubles/recordings), as one list of exchanges for each release, and those that nobody can repeat."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt

from tests.support.places import ROOT

FOLDER = ROOT / "tests" / "doubles" / "recordings"
RELEASES = sorted(path.stem.removeprefix("clair-") for path in FOLDER.glob("clair-*.json"))

# What a recording holds: exchanges by the key that names them, and facts about the recording itself.
_LISTS = {"http": "name", "clairctl": "name", "startup": "case"}
_FACTS = {"clair", "notes", "manifest"}


@dataclass(frozen=True)
class Exchange:
    """One thing that Clair was asked, or made to do, and what it answered."""

    release: str
    kind: str
    name: str

    @property
    def recorded(self) -> Any:
        """What was recorded: a dictionary, or for logs a text or a list of lines."""
        found = document(self.release)[self.kind]
        key = _LISTS.get(self.kind)
        return found[self.name] if key is None else next(one for one in found if one[key] == self.name)

    def __str__(self) -> str:
        return f"{self.release}-{self.kind}-{self.name}"


# The exchanges that no test repeats, and why.
NOT_REPLAYED = {
    Exchange("4.9.0", "startup", "db-unreachable"): (
        "its name server never answered: exit 124 is timeout's, the lines are a stack trace of Go (the double exits with 2)"
    ),
}


@cache
def document(release: str) -> dict[str, Any]:
    """Return the whole recording of a release; it is only read."""
    parsed: dict[str, Any] = json.loads((FOLDER / f"clair-{release}.json").read_text(encoding="utf-8"))
    return parsed


def exchanges(release: str) -> list[Exchange]:
    """Return every exchange of a recording, in its order. Raises AssertionError for a part of it that is not known here."""
    found = []
    for kind, part in document(release).items():
        if kind in _LISTS:
            names = [one[_LISTS[kind]] for one in part]
        elif kind == "logs":
            names = list(part)
        else:
            assert kind in _FACTS, (
                f"clair-{release}.json has a part {kind!r} that tests/support/recordings.py does not know"
            )
            continue
        assert len(set(names)) == len(names), f"clair-{release}.json names two exchanges of {kind!r} alike"
        found += [Exchange(release, kind, name) for name in names]
    return found


def authorization(auth: Any, key: bytes) -> dict[str, str]:
    """Return the header of a recorded kind of authorization, for services that have this key."""
    if auth == "none":
        return {}
    changes = auth if isinstance(auth, dict) else {}
    signed_with = base64.b64decode(changes["key"]) if "key" in changes else key
    expires = int(time.time()) + (-3600 if "exp" in changes else 300)
    token = jwt.encode({"iss": changes.get("iss", "clairctl"), "exp": expires}, signed_with, algorithm="HS256")
    return {"Authorization": f"Bearer {token}"}
