"""Text from images and feeds made harmless for the format it goes into: XML and HTML, Markdown, SARIF, links.

Pure. Such text is data: it must neither end an element, a cell or a line, nor become a link, a mention or a control
code. What is returned is ASCII wherever the format can say other characters in ASCII, whatever stdout's encoding is.
"""

from __future__ import annotations

import re
import urllib.parse

from ..host.escape_text import printable

# Everything XML 1.0 has no way to say (section 2.2), carriage returns, and what turns a text's direction.
_NOT_XML = re.compile("[^\t\n\x20-\x7e\u00a0-\u2027\u202f-\u2065\u2070-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_MARKUP_CHARACTER = re.compile("[&<>\"']")
# What an address may hold (RFC 3986) but for what closes a bracket of Markdown.
_URL = re.compile(r"[A-Za-z0-9._~:/?#@!$&'*+,;=%\[\]()-]+", re.ASCII)
_MARKDOWN_URL = str.maketrans({"(": "%28", ")": "%29", "[": "%5B", "]": "%5D", "*": "%2A", "'": "%27"})
LINK_LIMIT = 10


def markup(text: str) -> str:
    """Return text for an element or a quoted attribute of XML or HTML, lines kept, in ASCII."""
    escaped = _MARKUP_CHARACTER.sub(lambda match: _MARKUP[match.group()], _NOT_XML.sub(" ", text))
    return escaped.encode("ascii", "xmlcharrefreplace").decode("ascii")


def markdown_code(text: str, limit: int = 120) -> str:
    """Return text as a code span: no mention, emoji, HTML or address in it means anything, on GitHub and on GitLab.

    A pipe becomes a broken bar, for inside a table no way to write it is safe beside a backslash.
    """
    shown = printable(text, limit).replace("|", "\u00a6").strip()
    if not shown:
        return "-"
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if shown[0] == "`" or shown[-1] == "`" else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def markdown_link(text: str, links: str, limit: int = 120) -> str:
    """Return text as a code span, which is a link if there is an http(s) address in `links`."""
    addresses = web_links(links)
    shown = markdown_code(text, limit)
    return f"[{shown}](<{addresses[0].translate(_MARKDOWN_URL)}>)" if addresses and shown != "-" else shown


def markdown_block(text: str, limit: int = 4000) -> str:
    """Return text as a fenced block of lines."""
    import textwrap

    lines = textwrap.wrap(printable(text, limit), 100) or ["-"]
    longest = max((len(run) for run in re.findall("`+", "".join(lines))), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *lines, fence])


def message_text(text: str, limit: int = 1000) -> str:
    """Return text for a SARIF message, where brackets and braces would be links and placeholders (2.1.0, 3.11)."""
    return printable(text, limit).translate(str.maketrans("[]{}\\", "()()/"))


def web_links(text: str) -> list[str]:
    """Return the http(s) addresses among the words of a text, at most LINK_LIMIT."""
    found = [word for word in text.split() if is_web_link(word)]
    return list(dict.fromkeys(found))[:LINK_LIMIT]


def is_web_link(text: str) -> bool:
    """Return True for an absolute http(s) address of a host, without a user's name in it."""
    if len(text) > 2000 or not _URL.fullmatch(text):
        return False
    try:
        parts = urllib.parse.urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket or a port that is none
        return False
    return named and parts.scheme.lower() in ("http", "https") and "@" not in parts.netloc and "[" not in parts.path
