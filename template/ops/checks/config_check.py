"""Says what Clair would refuse, ignore or misunderstand in a service's config and drop-ins; pure functions over values.

Releases >= 4.7 stop at an unknown key and match names without regard to case; older ones ignore it silently
(cmd/config.go at v4.9.0 and v4.6.1). Which keys exist comes resolved in deployment.json (`release.keys`).
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Iterable, List, NamedTuple, Sequence, Tuple

from ..state.merge_config import pointer_parts


class KeyRules(NamedTuple):
    """The keys of one service at one release, as dotted paths."""

    allowed: Sequence[str]
    free_form: Sequence[str]
    strict: bool

    def knows(self, path: str) -> bool:
        """Return whether a dotted path is a key, or lies below one whose children are free."""
        cased = path.lower() if self.strict else path
        names = {name.lower() for name in self.allowed} if self.strict else set(self.allowed)
        return cased in names or any(cased == free or cased.startswith(free + ".") for free in self.free_form)

    def nearest(self, path: str) -> str:
        """Return the key whose last part is nearest to the path's, or an empty text."""
        parent, _, last = path.rpartition(".")
        siblings = [name.rpartition(".")[2] for name in self.allowed if name.rpartition(".")[0] == parent]
        near = get_close_matches(last, siblings, 1, 0.6)
        return ".".join([*filter(None, [parent]), near[0]]) if near else ""


# Where a service finds another one. Without a scheme Clair starts and then fails at the first request (verified, 4.5 to 4.9).
_ADDRESSES = ("matcher.indexer_addr", "notifier.indexer_addr", "notifier.matcher_addr")


def unknown_keys(document: Any, rules: KeyRules, prefix: str = "") -> List[str]:
    """Return the dotted paths in a config that are no keys; what lies below an unknown one is not listed."""
    if not isinstance(document, dict):
        return []
    unknown: List[str] = []
    for key, value in document.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if rules.knows(path):
            unknown += unknown_keys(value, rules, path)
        else:
            unknown.append(path)
    return unknown


def unknown_patch_keys(operations: Any, rules: KeyRules) -> List[str]:
    """Return the dotted paths that an RFC 6902 patch adds or replaces and that are no keys."""
    unknown: List[str] = []
    for operation in operations if isinstance(operations, list) else []:
        if not isinstance(operation, dict) or operation.get("op") not in ("add", "replace"):
            continue
        try:
            # Positions in lists are no part of a key.
            parts = [part for part in pointer_parts(operation.get("path")) if part != "-" and not part.isdigit()]
        except ValueError:
            # Said by the attempt to apply the patch.
            continue
        path = ".".join(parts)
        if path and not rules.knows(path):
            unknown.append(path)
        else:
            unknown += unknown_keys(operation.get("value"), rules, path)
    return unknown


def key_sentences(where: str, unknown: Iterable[str], rules: KeyRules, release: str) -> List[Tuple[str, str]]:
    """Return sentence and hint for each unknown key of a file."""
    result = []
    for path in unknown:
        near = rules.nearest(path)
        effect = "stops at it" if rules.strict else "ignores it"
        hint = f"did you mean {near}" if near else f"remove it from {where}"
        result.append((f"config key unknown, {path} in {where}: Clair {release} {effect}", hint))
    return result


def value_sentences(where: str, merged: Any) -> List[Tuple[str, str]]:
    """Return sentence and hint for values of a merged config that Clair accepts at start and then cannot use."""
    result = []
    for path in _ADDRESSES:
        value = _at(merged, path)
        if isinstance(value, str) and value and not value.startswith(("http://", "https://")):
            result.append(
                (f"config value wrong, {path} in {where}: {value!r} has no scheme", f"write http://{value.lstrip('/')}")
            )
    issuers = _at(merged, "auth.psk.iss")
    if issuers is not None and (not isinstance(issuers, list) or not issuers):
        result.append(
            (f"config value wrong, auth.psk.iss in {where}: not a list of issuers", 'write iss: ["clairctl"]')
        )
    return result


def drop_in_sentence(where: str, name: str, drop_ins: bool, release: str) -> Tuple[str, str]:
    """Return sentence and hint for a drop-in that Clair does not read; empty texts for one it reads."""
    folder = where.rpartition("/")[0]
    if not drop_ins:
        main = folder.rpartition(".d")[0]
        return f"drop-in not read, {where}: Clair {release} knows none", f"move its settings into {main}"
    if name == "zz-psk.yaml":
        return (
            f"drop-in not read, {where}: this name belongs to the deployment's own key",
            f"mv {where} {folder}/50-own.yaml",
        )
    if not name.endswith((".yaml", ".yaml-patch")) or name.startswith("."):
        stem = name.lstrip(".").partition(".")[0] or "own"
        reason = "Clair reads only names that end in .yaml or .yaml-patch"
        return f"drop-in not read, {where}: {reason}", f"mv {where} {folder}/{stem}.yaml"
    return "", ""


def holds_key(document: Any) -> bool:
    """Return whether a config carries the pre-shared key, which belongs into secrets/ only."""
    return bool(_at(document, "auth.psk.key"))


def _at(document: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(part)
    return document
