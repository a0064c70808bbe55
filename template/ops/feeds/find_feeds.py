"""Which feed answers for each distribution and language of a report.

Pure. Clair answers "no vulnerabilities" for a distribution whose feed it never loaded or does not know, and for
packages it compares with nothing; so whatever no feed answers for is named here. The facts of each family stand in
deployment.json (`feeds.catalogue`), and their sources in the template repository, extensions/data/families.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..clair.read_report import Contents
from ..host.escape_text import printable
from ..host.read_json import Object
from .match_updaters import FRESH, NONE, Feeds, Ledger, Updaters, fill_template

# Updater, column of table vuln, value: does a row exist?
Question = tuple[str, str, str]
Family = Mapping[str, Any]


@dataclass(frozen=True)
class Cover:
    """One distribution or language of a report and the feed that answers for it.

    `kind` is distribution, language or unrecognised (packages of an operating system Clair does not know). `state` is
    one of fresh, stale, of unknown age, never loaded, none. `reason` is why the feed does not answer, empty if it does.
    """

    subject: str
    kind: str
    packages: int
    family: str = ""
    state: str = NONE
    updaters: tuple[str, ...] = ()
    succeeded_at: Optional[float] = None
    reason: str = ""
    notes: tuple[str, ...] = ()


def find_feeds(
    contents: Contents, feeds: Feeds, ledger: Ledger, present: Mapping[Question, bool], now: float
) -> list[Cover]:
    """Return a cover for each distribution and language, and for packages that belong to neither.

    `present` holds the answers to `presence_questions`; an answer that is missing counts as no. `now` is in seconds
    since 1970.
    """
    updaters = Updaters(feeds, ledger, now)
    counts, lost = _assign(contents, feeds)
    covers = []
    for identifier, fields in _judged(contents, feeds):
        packages = counts.get(("distribution", identifier), 0)
        unknown = [question for question in _questions(fields, feeds, updaters) if not present.get(question)]
        compared = _compared(contents, identifier, feeds)
        covers.append(_distribution(fields, packages, compared, unknown, feeds, updaters=updaters))
    for kind, name in sorted(counts):
        if kind == "language":
            covers.append(_language(name, counts[kind, name], feeds, updaters))
    if lost:
        databases = sorted({printable(place or "?", 60) for place in lost.values()})
        number = "1 package is" if len(lost) == 1 else f"{len(lost)} packages are"
        reason = f"{number} of no distribution that Clair recognises ({', '.join(databases[:3])})"
        covers.append(Cover("unknown distribution", "unrecognised", len(lost), reason=reason))
    return covers


def presence_questions(contents: Contents, feeds: Feeds, ledger: Ledger) -> list[Question]:
    """Return what must be in the feeds' table for each distribution, else its feed does not know the distribution."""
    updaters = Updaters(feeds, ledger, 0)
    found = [question for _, fields in _judged(contents, feeds) for question in _questions(fields, feeds, updaters)]
    return list(dict.fromkeys(found))


def _family(fields: Object, feeds: Feeds) -> tuple[str, Family]:
    """Return name and facts of the family that decides a distribution, empty ones if none does."""
    for name, family in feeds.catalogue.items():
        if fields.get("did") in (family.get("distributions") or ()):
            return name, family
    return "", {}


def _judged(contents: Contents, feeds: Feeds) -> Iterable[tuple[str, Object]]:
    """Yield the report's distributions but for those that are a scanner's known mistake beside another one."""
    dids = {fields.get("did") for fields in contents.distributions.values() if isinstance(fields.get("did"), str)}
    for identifier, fields in sorted(contents.distributions.items()):
        if not dids & set(_family(fields, feeds)[1].get("ignored_beside") or ()):
            yield identifier, fields


def _assign(contents: Contents, feeds: Feeds) -> tuple[dict[tuple[str, str], int], dict[str, str]]:
    """Count packages by distribution id and by language; return those that have neither, with their package database.

    Clair ties a package to a distribution or to repositories by its environments; a package without either is compared
    with nothing. A repository with a key is one of Red Hat's; its packages belong to the distribution beside it.
    """
    counts: dict[tuple[str, str], int] = {}
    lost: dict[str, str] = {}
    keyed = [
        ("distribution", identifier)
        for identifier, fields in contents.distributions.items()
        if _family(fields, feeds)[1].get("needs_repository")
    ]
    for package in contents.packages:
        keys: set[tuple[str, str]] = set()
        place = ""
        for environment in contents.environments.get(package, []):
            place = place or str(environment.get("package_db") or "")
            identifier = environment.get("distribution_id")
            if isinstance(identifier, str) and identifier in contents.distributions:
                keys.add(("distribution", identifier))
            for repository in _repositories(contents, environment):
                if repository.get("key"):
                    keys.update(keyed)
                elif isinstance(repository.get("name"), str) and repository["name"]:
                    keys.add(("language", repository["name"]))
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
        if not keys:
            lost[package] = place
    return counts, lost


def _repositories(contents: Contents, environment: Object) -> list[Object]:
    identifiers = environment.get("repository_ids")
    known = identifiers if isinstance(identifiers, list) else []
    return [contents.repositories[item] for item in known if isinstance(item, str) and item in contents.repositories]


def _distribution(
    fields: Object,
    packages: int,
    compared: Optional[int],
    unknown: list[Question],
    feeds: Feeds,
    *,
    updaters: Updaters,
) -> Cover:
    """Return the cover of one distribution.

    `compared` is how many of its packages Clair can compare (None: all), `unknown` what its feed does not hold.
    """
    subject = _subject(fields)
    name, family = _family(fields, feeds)
    if not name:
        return Cover(subject, "distribution", packages, reason="no feed of Clair covers it")
    notes = tuple(str(note) for note in family.get("limits") or ())
    state, names, succeeded_at, why = updaters.judge(family.get("required") or (), fields, family.get("aliases") or {})
    reason = ""
    if state != FRESH:
        asked = "" if name in feeds.asked else f"; {name} is not among updater_families"
        never = f"; {family['never_loads']}" if family.get("never_loads") else ""
        reason = f"{why}{asked}{never}"
    if unknown:
        state = NONE
        reason = f"the feed {unknown[0][0]} holds nothing for {printable(unknown[0][2])!r}"
    elif compared == 0:
        state = NONE
        reason = "none of its packages has a repository that Clair can compare by"
    elif compared is not None and compared < packages:
        notes += (f"{packages - compared} of {packages} packages have no repository and were not compared",)
    return Cover(subject, "distribution", packages, name, state, names, succeeded_at, reason, notes)


def _language(language: str, packages: int, feeds: Feeds, updaters: Updaters) -> Cover:
    subject = f"{printable(language, 40)} packages"
    for name, family in feeds.catalogue.items():
        template = (family.get("repositories") or {}).get(language)
        if template and (name in feeds.asked or updaters.matching(str(template))):
            state, names, succeeded_at, why = updaters.judge(({"any": str(template)},), {}, {})
            notes = tuple(str(note) for note in family.get("limits") or ())
            return Cover(subject, "language", packages, name, state, names, succeeded_at, why, notes)
    return Cover(subject, "language", packages, reason="no feed that is loaded covers them")


def _subject(fields: Object) -> str:
    for names in (("pretty_name",), ("name", "version"), ("did", "version_id")):
        text = " ".join(str(fields[name]) for name in names if isinstance(fields.get(name), str) and fields[name])
        if text:
            return printable(text, 60)
    return "a distribution without a name"


def _questions(fields: Object, feeds: Feeds, updaters: Updaters) -> list[Question]:
    _, family = _family(fields, feeds)
    found = []
    for column, field in (family.get("present") or {}).items():
        value = fields.get(field)
        for requirement in family.get("required") or ():
            for template in requirement.values():
                pattern = fill_template(str(template), fields, family.get("aliases") or {})
                for updater in updaters.matching(pattern):
                    found.append((updater, str(column), value if isinstance(value, str) else ""))
    return found


def _compared(contents: Contents, identifier: str, feeds: Feeds) -> Optional[int]:
    """Return how many packages of a distribution have a repository their family compares by; None if it needs none."""
    key = _family(contents.distributions[identifier], feeds)[1].get("needs_repository")
    if not key:
        return None
    return sum(
        any(
            environment.get("distribution_id") == identifier
            and any(repository.get("key") == key for repository in _repositories(contents, environment))
            for environment in contents.environments.get(package, [])
        )
        for package in contents.packages
    )
