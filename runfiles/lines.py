"""Text of other programs and of users, so that it is safe in a terminal, in a record and on a page."""

from __future__ import annotations

import re

MOST_CHARACTERS = 300

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")
"""Sequences that move a terminal's cursor or set its colours or its title (ECMA-48)."""


_OWN = re.compile(r"\S*/\S*|\bcontainer \S+|\d+(?:[-:.,]\d+)+")
"""What a reason says of one round alone: a path or a URL, a container's name, a date or a time."""


_HIDDEN = {*range(0x20), *range(0x7F, 0xA0)} - set(map(ord, "\t\n\r"))
_REVERSING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""What reverses the text that follows (Unicode, UAX 9)."""
_SIGNS = dict.fromkeys(_HIDDEN | _REVERSING, "\ufffd")


def visible(text: str) -> str:
    """The text with a sign in place of each character that a reader does not see, and that may change what follows."""
    return text.translate(_SIGNS)


def printable(text: str) -> str:
    """The text as one line, without escape sequences and characters that can't be shown."""
    shown = "".join(character if character.isprintable() else " " for character in _ESCAPES.sub("", text))
    return " ".join(shown.split())


def is_alike(first: str, second: str) -> bool:
    """Whether two reasons tell of one cause. They may name other files, addresses, containers and times."""
    return _OWN.sub("", first) == _OWN.sub("", second)


def tidy(text: str) -> str:
    """As ``printable``, and shortened."""
    line = printable(text)
    return line if len(line) <= MOST_CHARACTERS else line[:MOST_CHARACTERS] + " ..."
