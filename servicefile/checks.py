"""The checks of single values of a service file: commands, folders, variables, paths, headers, mounts.

Each check takes a value as TOML gives it. It returns the value to use, or raises ``ValueError`` with what would be
right. ``base`` is the folder of the service file.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from runfiles.lines import tidy
from servicefile import toml

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header field (RFC 9110, 5.6.2)."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def command(value: Any) -> tuple[str, ...]:
    example = "a command, such as python app.py"
    if isinstance(value, list) and value and all(isinstance(word, str) and word for word in value):
        return tuple(value)
    if not isinstance(value, str):
        raise ValueError(example)  # noqa: TRY004  no caller's slip
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"{example} ({error})") from error
    if not words:
        raise ValueError(example)
    return tuple(words)


def folder(base: Path, with_file: str | None, value: Any) -> Path:
    """A folder, relative to that of the service file."""
    what = f"a folder with a {with_file}" if with_file else "a folder"
    if not isinstance(value, str) or not value:
        raise ValueError(what)
    folder = (base / Path(value).expanduser()).resolve()
    if not folder.is_dir():
        raise ValueError(f"{what} (there is no folder {folder})")
    if with_file and not (folder / with_file).is_file():
        raise ValueError(f"{what} ({folder} has none)")
    return folder


def file(base: Path, what: str, value: Any) -> Path:
    """A file, relative to the folder of the service file."""
    if not isinstance(value, str) or not value:
        raise ValueError(what)
    path = (base / Path(value).expanduser()).resolve()
    if not path.is_file():
        raise ValueError(f"{what} (there is no file {path})")
    return path


def python(base: Path, value: Any) -> Path:
    """Python's program. Its path is kept as it is given: a virtual environment is known by it, and it is a link."""
    what = "a Python, such as .venv/bin/python"
    if not isinstance(value, str) or not value:
        raise ValueError(what)
    path = base / Path(value).expanduser()
    if not path.is_file():
        raise ValueError(f"{what} (there is no file {path})")
    return path


def environment(value: Any) -> dict[str, str]:
    what = 'a table of variables, such as LOG_LEVEL = "info"'
    if not isinstance(value, dict):
        raise ValueError(what)  # noqa: TRY004  no caller's slip
    for name, content in value.items():
        if not _VARIABLE.fullmatch(name) or not isinstance(content, str) or "\0" in content:
            raise ValueError(f"{what} ({tidy(name)} is not one; values are texts, in quotes)")
    return dict(value)


def variable(value: Any) -> str:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValueError("the name of an environment variable, such as PORT")
    return value


def variable_or_none(value: Any) -> str | None:
    """TOML has no null: an empty text says that there is none."""
    return None if value == "" else variable(value)


def header_name(value: Any) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError("the name of a header, such as X-Replica")
    return value


def method(value: Any) -> str:
    if value not in METHODS:
        raise ValueError(f"one of {', '.join(METHODS)}")
    return str(value)


def path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable() or " " in value:
        raise ValueError("a path, such as /infer or /classify?text=$text")
    return value


def path_in_container(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise ValueError("a folder in the container, such as /app")
    return value.rstrip("/") or "/"


def headers(value: Any) -> dict[str, str]:
    what = 'a table of headers, such as Content-Type = "application/json"'
    if not isinstance(value, dict):
        raise ValueError(what)  # noqa: TRY004  no caller's slip
    for name, content in value.items():
        if not _TOKEN.fullmatch(name) or not isinstance(content, str) or not content.isprintable():
            raise ValueError(f"{what} ({tidy(name)} is not one)")
        if name.lower() in ("content-length", "transfer-encoding", "host", "connection"):
            raise ValueError(f"{what} ({name} is set by Fourfold)")
    return dict(value)


def body(value: Any) -> Any:
    if not isinstance(value, str | dict | list):
        raise ValueError('a text, or a table that becomes JSON, such as {text = "$text"}')  # noqa: TRY004
    return value


def expression(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text or a regular expression that each answer has, such as label")
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"a text or a regular expression that each answer has ({error})") from error
    return value


def mount(base: Path, value: Any) -> str:
    what = "a mount, such as FOLDER:/data or FOLDER:/data:ro"
    if not isinstance(value, str):
        raise ValueError(what)  # noqa: TRY004  no caller's slip
    source, _, rest = value.partition(":")
    target, _, mode = rest.partition(":")
    folder = (base / Path(source).expanduser()).resolve()
    if not source or not target.startswith("/") or mode not in ("", "ro", "rw"):
        raise ValueError(what)
    if not folder.exists():
        raise ValueError(f"{what} (there is no {folder})")
    return f"{folder}:{target}:{mode or 'rw'}"


def list_of(check: toml.Check, what: str) -> toml.Check:
    def check_list(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(what)  # noqa: TRY004  no caller's slip
        return tuple(map(check, value))

    return check_list
