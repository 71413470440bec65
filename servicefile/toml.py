"""Reads a TOML file of the user's, and checks each of its values. Plans and service files are read with it.

A check takes a value as TOML gives it. It returns the value to use, or raises ``ValueError`` with what would be right.
That of a table raises ``NotValid`` instead, with the table's name first.
"""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from runfiles.lines import tidy

MOST_BYTES = 10**6
"""A file that is larger was not written by hand."""

MOST_KEY = 100

NO_DEFAULT = object()
"""In place of the default of a key that can't be left out."""

_NO_VALUE = "Invalid value (at line "
"""What tomllib says of a text without quotes."""

Check = Callable[[Any], Any]


class NotValid(Exception):
    """A file that can't be used. The message names the file, the key, the value, and what would be right."""


def read(path: Path, what: str, example: str) -> dict[str, Any]:
    """The content of a TOML file.

    Args:
        path: the file.
        what: what it should be, such as "plan".
        example: the path of one to start from, for messages.

    Raises:
        NotValid: it can't be read, or is not TOML.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_BYTES:  # a FIFO would keep us waiting
            why = "not a file" if not stat.S_ISREG(about.st_mode) else f"larger than {MOST_BYTES / 1e6:.0f} MB"
            raise NotValid(f"{path} can't be read (it is {why}); name another {what}")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotValid(f"there is no {what} {path}; {example} is one to start from") from error
    except OSError as error:
        raise NotValid(f"{path} can't be read ({error.strerror}); name another {what}") from error
    except (ValueError, RecursionError) as error:  # ValueError also of a number of more digits than Python takes
        hint = " (texts need quotes)" if str(error).startswith(_NO_VALUE) else ""
        raise NotValid(f"{path} is not TOML: {tidy(str(error))}{hint}; correct that, and see {example}") from error


def checked(
    values: Mapping[str, Any], checks: Mapping[str, Check], where: str, has: str, default: Callable[[str], Any]
) -> dict[str, Any]:
    """The values as their checks return them.

    Args:
        values: by key.
        checks: of each key that there may be.
        where: the file, or the option, and the table in it, for messages.
        has: who has such keys, such as "a plan".
        default: the value of a key that is left out; ``NO_DEFAULT``: it can't be.

    Raises:
        NotValid: there is no such key, or its value is not one.
    """
    found = {}
    for key, value in values.items():
        if key not in checks:
            close = get_close_matches(key[:MOST_KEY], checks, n=1)
            meant = f"did you mean {close[0]}?" if close else f"{has} has {', '.join(checks)}"
            raise NotValid(f"{where}: there is no key {tidy(repr(key))}; {meant}")
        try:
            found[key] = checks[key](value)
        except NotValid as inner:
            raise NotValid(f"{where}: {inner}") from None
        except ValueError as expected:
            said, usual = f"{where}: {key} = {shown(value)} is not {expected}", default(key)
            if usual is not NO_DEFAULT:
                said += f"; the default is {'none' if usual == () else shown(usual)}"
            raise NotValid(said) from None
    return found


def shown(value: Any) -> str:
    """A value of a TOML file, for messages: texts with their quotes, which may be the slip."""
    if isinstance(value, str):
        return f'"{tidy(value)}"'
    if isinstance(value, list | tuple):
        return tidy(",".join(map(shown, value))) or "an empty list"
    if isinstance(value, Mapping):
        return "a table" if value else "an empty table"
    if isinstance(value, int) and value.bit_length() > 64:  # Python refuses to write the longest ones
        return "a number beyond 64 bits"
    return "none" if value is None else tidy(str(value))


def whole(least: int, most: int) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return check


def number(what: str, least: float, most: float) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"{what} from {least:g} to {most:g}")
        return float(value)

    return check


def or_none(check: Check) -> Check:
    def check_or_none(value: Any) -> Any:
        return None if value is None else check(value)

    return check_or_none


def one_of(words: tuple[str, ...]) -> Check:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(" or ".join(words))
        return str(value)

    return check


def yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004  no caller's slip
    return value


def text(what: str) -> Check:
    """A text that is not empty."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise ValueError(what)
        return value

    return check
