"""Order of dpkg and apk versions, and Clair's rule of what a fixed version means (claircore debian and alpine matchers)."""

from __future__ import annotations

import re
from functools import lru_cache

from .releases import Release

_APK = re.compile(
    r"^(?P<numbers>\d+(?:\.\d+)*)(?P<letter>[a-z]?)"
    r"(?P<suffixes>(?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)\d*)*)(?:~[0-9a-f]+)?(?:-r(?P<revision>\d+))?$"
)
_APK_SUFFIXES = {"alpha": -4, "beta": -3, "pre": -2, "rc": -1, "cvs": 1, "svn": 2, "git": 3, "hg": 4, "p": 5}


class MatchProblem(Exception):
    """A version that the original's matcher gives up on; the whole report fails then."""


def is_vulnerable(distribution: str, installed: str, fixed: str, release: Release) -> bool:
    """Say whether `installed` is affected; no fixed version means yes, `0` means not affected.

    Raises:
        MatchProblem: before 4.7.0, Debian data without a fixed version.
    """
    if distribution in ("alpine", "Alpine Linux"):
        if fixed == "0":
            return False
        if not fixed:
            return release.since("4.7.0")
        try:
            return compare_apk(installed, fixed) < 0
        except ValueError:
            return False
    if distribution in ("debian", "Debian GNU/Linux", "ubuntu", "Ubuntu"):
        if not release.since("4.7.0"):
            if not fixed:
                raise MatchProblem("upstream_version is empty")
            return fixed == "0" or compare_dpkg(installed, fixed) < 0
        if fixed in ("", "0"):
            return not fixed
        return compare_dpkg(installed, fixed) < 0
    return False


def compare_dpkg(left: str, right: str) -> int:
    """Compare two Debian versions: negative, zero or positive (deb-version(7))."""
    left_epoch, left_upstream, left_revision = _split_dpkg(left)
    right_epoch, right_upstream, right_revision = _split_dpkg(right)
    if left_epoch != right_epoch:
        return left_epoch - right_epoch
    return _compare_part(left_upstream, right_upstream) or _compare_part(left_revision, right_revision)


def _split_dpkg(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return int(epoch) if epoch.isdigit() else 0, upstream, revision


def _order(letter: str) -> int:
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + 256


def _compare_part(left: str, right: str) -> int:
    while left or right:
        left_text, left = _cut(left, r"\D*")
        right_text, right = _cut(right, r"\D*")
        for position in range(max(len(left_text), len(right_text))):
            left_order = _order(left_text[position]) if position < len(left_text) else 0
            right_order = _order(right_text[position]) if position < len(right_text) else 0
            if left_order != right_order:
                return left_order - right_order
        left_digits, left = _cut(left, r"\d*")
        right_digits, right = _cut(right, r"\d*")
        difference = int(left_digits or 0) - int(right_digits or 0)
        if difference:
            return difference
    return 0


def _cut(text: str, pattern: str) -> tuple[str, str]:
    match = re.match(pattern, text)
    end = match.end() if match else 0
    return text[:end], text[end:]


@lru_cache(maxsize=4096)
def _apk_key(version: str) -> tuple[list[str], str, list[tuple[int, int]], int]:
    match = _APK.match(version)
    if not match:
        raise ValueError(f"invalid apk version: {version}")
    suffixes = [
        (_APK_SUFFIXES[name], int(number or 0))
        for name, number in re.findall(r"_(alpha|beta|pre|rc|cvs|svn|git|hg|p)(\d*)", match.group("suffixes"))
    ]
    return match.group("numbers").split("."), match.group("letter"), suffixes, int(match.group("revision") or 0)


def compare_apk(left: str, right: str) -> int:
    """Compare two Alpine versions: negative, zero or positive.

    Raises:
        ValueError: one of them is no apk version.
    """
    left_numbers, left_letter, left_suffixes, left_revision = _apk_key(left)
    right_numbers, right_letter, right_suffixes, right_revision = _apk_key(right)
    for position in range(max(len(left_numbers), len(right_numbers))):
        if position >= len(left_numbers):
            return -1
        if position >= len(right_numbers):
            return 1
        result = _compare_number(left_numbers[position], right_numbers[position], position == 0)
        if result:
            return result
    if left_letter != right_letter:
        return -1 if left_letter < right_letter else 1
    for position in range(max(len(left_suffixes), len(right_suffixes))):
        left_suffix = left_suffixes[position] if position < len(left_suffixes) else (0, 0)
        right_suffix = right_suffixes[position] if position < len(right_suffixes) else (0, 0)
        if left_suffix != right_suffix:
            return -1 if left_suffix < right_suffix else 1
    return left_revision - right_revision


def _compare_number(left: str, right: str, first: bool) -> int:
    if not first and (left.startswith("0") or right.startswith("0")) and (len(left) > 1 or len(right) > 1):
        left_fraction, right_fraction = left.rstrip("0"), right.rstrip("0")
        if (left.startswith("0") and len(left) > 1) or (right.startswith("0") and len(right) > 1):
            return (left_fraction > right_fraction) - (left_fraction < right_fraction)
    return int(left) - int(right)
