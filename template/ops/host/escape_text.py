"""Text from outside, made safe to print: one line, nothing invisible, nothing that a terminal obeys."""


def printable(text: str, limit: int = 120) -> str:
    """Return text from outside in one line without control, direction and other invisible characters, shortened."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= limit else f"{shown[: limit - 3]}..."
