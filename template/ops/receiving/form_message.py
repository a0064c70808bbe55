"""Writes the message about one image: JSON for a webhook, Slack's format, an e-mail.

What feeds and images say is text, never markup: Slack's `<`, `>`, `&` are escaped, its marks and mentions made inert, control
characters are dropped.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from email.message import EmailMessage
from typing import Any

from .read_settings import SEVERITIES, Target

# A receiver of a webhook takes a body of one or two MB, of twenty perhaps not; the container has 128 MiB.
WEBHOOK_FINDINGS = 2000
# Characters.
_LINKS_WEBHOOK = 1000
_LINKS_EMAIL = 500
_LINES_SLACK = 30
# Slack cuts a text of more than 40,000 characters. https://api.slack.com/changelog/2018-04-truncating-really-long-messages
_TEXT_SLACK = 38_000
_LINES_EMAIL = 1000
_NAME = 200
_MENTION = re.compile(r"(?<![^\W_])@|@(?=(?:channel|here|everyone|all)\b)", re.IGNORECASE)
_MARK = re.compile(r"\*|(?<![^\W_])[_~]")

Finding = Mapping[str, Any] | sqlite3.Row
# The links of a finding, by its id: of many findings they are too long to be held at once.
Links = Callable[[str], str]


def form_webhook(
    delivery: Mapping[str, Any], image: str, findings: Sequence[Finding], test: bool, part: tuple[int, int] = (1, 1)
) -> bytes:
    """Return the body of a part of a message for a webhook: its number and how many there are, all of its findings."""
    document = {
        "format": 1,
        "id": delivery["id"],
        "part": part[0],
        "parts": part[1],
        "notification": delivery["notification"],
        "test": test,
        "manifest": delivery["manifest"],
        "image": image,
        "findings": [_document(finding) for finding in findings],
    }
    return json.dumps(document).encode()


def form_slack(delivery: Mapping[str, Any], image: str, findings: Sequence[Finding], test: bool) -> bytes:
    """Return the body for a Slack-compatible webhook: `text` with a line per finding."""
    lines = [f"*{_escape(_subject(delivery, image, findings, test))}*"]
    size = len(lines[0])
    for finding in findings[:_LINES_SLACK]:
        line = f"- {_escape(_line(finding))}"
        size += len(line) + 1
        if size > _TEXT_SLACK:
            break
        lines.append(line)
    lines += _rest(findings, len(lines) - 1)
    return json.dumps({"text": "\n".join(lines)}).encode()


def form_email(
    delivery: Mapping[str, Any], image: str, findings: Sequence[Finding], test: bool, target: Target, *, links: Links
) -> EmailMessage:
    """Return the e-mail; its Message-ID is the same at every try, its Date is the time of the try."""
    message = EmailMessage()
    message["Date"] = datetime.now(timezone.utc)
    message["Subject"] = _subject(delivery, image, findings, test)
    message["From"] = target.sender
    message["To"] = ", ".join(target.recipients)
    message["Message-ID"] = f"<{delivery['id']}@{target.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Clair-Notification"] = delivery["notification"]
    lines = [f"Image: {_plain(image) or 'name unknown'}", f"Digest: {_plain(delivery['manifest'])}", ""]
    for finding in findings[:_LINES_EMAIL]:
        lines.append(_line(finding))
        kept, omitted = _links(_plain(links(finding["id"])), _LINKS_EMAIL)
        more = f"and {omitted} more links" if omitted else ""
        if kept or more:
            lines.append("    " + " ".join(filter(None, (kept, more))))
    lines += _rest(findings, _LINES_EMAIL)
    message.set_content("\n".join(lines) + "\n")
    return message


def _document(finding: Finding) -> dict[str, Any]:
    keys = ("id", "vulnerability", "severity", "package", "version", "fixed_in", "reason")
    kept, omitted = _links(finding["links"], _LINKS_WEBHOOK)
    return {**{key: finding[key] for key in keys}, "links": kept, "links_omitted": omitted}


def _links(text: str, size: int) -> tuple[str, int]:
    """Return the links that fit into so many characters, none of them cut, and how many do not."""
    links = text.split()
    kept, used = 0, 0
    for link in links:
        used += len(link) + bool(kept)
        if used > size:
            break
        kept += 1
    return " ".join(links[:kept]), len(links) - kept


def _subject(delivery: Mapping[str, Any], image: str, findings: Sequence[Finding], test: bool) -> str:
    counts = Counter(finding["severity"] for finding in findings)
    said = ", ".join(f"{counts[name]} {name}" for name in reversed(SEVERITIES) if counts[name])
    subject = f"Clair: {said} in {_short(image or delivery['manifest'])}"
    return f"TEST {subject}" if test else subject


def _line(finding: Finding) -> str:
    package = " ".join(_short(part) for part in (finding["package"], finding["version"]) if part)
    fixed = f"fixed in {_short(finding['fixed_in'])}" if finding["fixed_in"] else "no fix yet"
    taken_back = "" if finding["reason"] == "added" else f" ({_short(finding['reason'])})"
    return f"{finding['severity']}: {_short(finding['vulnerability'])}, {package}, {fixed}{taken_back}"


def _rest(findings: Sequence[Finding], shown: int) -> list[str]:
    more = len(findings) - shown
    return [f"and {more} more: ./clair notifications"] if more > 0 else []


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _short(text: str) -> str:
    plain = _plain(text)
    return plain if len(plain) <= _NAME else f"{plain[: _NAME - 1]}…"


def _escape(text: str) -> str:
    """Return a text that neither Slack nor what speaks its format takes for markup; a digest or a version stays as it is.

    A zero-width space ends what would be a mention or a link, a thin one keeps a mark from beginning anything: both read it
    as a blank. Marks inside of a word are none, and no blank helps against a backquote.
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")
    text = _MENTION.sub("@\u200b", text).replace("](", "]\u200b(")
    return _MARK.sub("\\g<0>\u200a", text)
