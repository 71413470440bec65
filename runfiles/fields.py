"""How a JSON record is read and written, and what its fields may hold.

A record is a frozen dataclass. The annotation of each field is the whole description of the field: its type, and its
range with ``Annotated``. A field with ``| None`` may be ``null``. A field with a default may be absent, as it is in the
records of earlier versions. Keys that no field has are not read.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import addresses

LONGEST_RUN_S = 7 * 24 * 3600
"""A record of a longer run has a wrong time in it. Figures by second would fill the memory."""

FIRST_YEAR, LAST_YEAR = 2000, 2100
FIRST_UNIX_S, LAST_UNIX_S = 946_684_800, 4_102_444_800
"""The beginnings of these years: no run was recorded before or after."""

MOST_CPUS = 100_000
MOST_BYTES = 2**60
LONGEST_NAME = 300
"""Longer than any name of an image or of a machine."""

MOST_SHOWN = 100

TYPE_NAMES = {str: "text", bool: "yes or no", int: "whole number", float: "number"}


@dataclass(frozen=True)
class Record:
    """One table of a JSON record."""

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """The record that is written in ``content``, the value of a JSON file.

        Raises:
            ValueError: a field is missing, or is not what it must be. The message names the field.
        """
        if not isinstance(content, dict):
            raise ValueError(f"it is {shown(content)}, which is no table")  # noqa: TRY004  no caller's slip
        return cls.from_table(content, "")

    @classmethod
    def from_table(cls, table: Mapping[str, Any], place: str) -> Self:
        """The same of a table that stands at ``place`` (such as ``machine.``) in a record."""
        values = {}
        known = _fields(cls)  # type: ignore[arg-type]  # mypy looks whether the class' instances are hashable
        for name, (kind, may_be_absent) in known.items():
            if name in table or not may_be_absent:
                values[name] = _value(kind, table.get(name), place + name)
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The record as ``from_json`` reads it, in the order of its fields."""
        return {field.name: _json(getattr(self, field.name)) for field in fields(self)}


@cache
def _fields(record: type[Any]) -> dict[str, tuple[Any, bool]]:
    """Of each field of a record its annotation, and whether it may be absent."""
    hints = get_type_hints(record, include_extras=True)
    required = {field.name for field in fields(record) if field.default is MISSING is field.default_factory}
    return {field.name: (hints[field.name], field.name not in required) for field in fields(record)}


def _value(kind: Any, value: Any, name: str, inner: str = ".") -> Any:
    """A value of JSON as the annotation ``kind`` says. ``inner`` stands between its name and those of its fields.

    Raises:
        ValueError: it is none. The message begins with ``name``.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (kind,) = (argument for argument in arguments if argument is not NoneType)
        return None if value is None else _value(kind, value, name, inner)
    if value is None and kind is not Any:
        raise ValueError(f"{name} is missing")
    if origin is Annotated:
        found = _value(arguments[0], value, name, inner)
        rule = arguments[1]
        if reason := rule(found):
            raise _wrong(name, value, reason)
        return found
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(name, value, "no list")
        items = enumerate(value, 1)
        return tuple(_value(arguments[0], item, f"{name} number {place}", ": ") for place, item in items)
    if origin is Mapping or (isinstance(kind, type) and issubclass(kind, Record)):
        if not isinstance(value, dict):
            raise _wrong(name, value, "no table")
        if origin is Mapping:
            return {key: _value(arguments[1], item, f"{name}.{_shown_key(key)}") for key, item in value.items()}
        return kind.from_table(value, name + inner)
    return _scalar(kind, value, name)


def _scalar(kind: Any, value: Any, name: str) -> Any:
    types = (int, float) if kind is float else kind
    if kind is not Any and (not isinstance(value, types) or (isinstance(value, bool) and kind is not bool)):
        raise _wrong(name, value, f"no {TYPE_NAMES[kind]}")
    return value


def _wrong(name: str, value: Any, reason: str) -> ValueError:
    return ValueError(f"{name} is {shown(value)}, which is {reason}")


def shown(value: Any) -> str:
    """A value of JSON for a message: its beginning, on one line."""
    return reprlib.repr(value)[:MOST_SHOWN]


def _shown_key(key: str) -> str:
    return key if key.isidentifier() and len(key) <= MOST_SHOWN else shown(key)


def _json(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class Between:
    """The rule for a number between two limits.

    A rule says of a value of the right type what it is instead of what it should be; None: it is right.
    """

    least: float
    most: float

    def __call__(self, value: float) -> str | None:
        if self.least <= value <= self.most:
            return None
        return f"not between {self.least:,} and {self.most:,}"


@dataclass(frozen=True)
class OneOf:
    """The rule for a text that is one of a few words."""

    words: tuple[str, ...]

    def __call__(self, value: str) -> str | None:
        return None if value in self.words else f"none of {', '.join(self.words)}"


def why_no_name(value: str) -> str | None:
    """The rule for a name."""
    return None if value.isprintable() and 0 < len(value) <= LONGEST_NAME else "no name"


def _why_no_time(value: str) -> str | None:
    no_time = f"no time between {FIRST_YEAR} and {LAST_YEAR}"
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return no_time
    if not FIRST_YEAR <= time.year < LAST_YEAR:
        return no_time
    return "a time without its time zone" if time.tzinfo is None else None


def _why_no_address(value: str) -> str | None:
    try:
        urlsplit(value)
    except ValueError:
        return "no address"
    return None


def _why_no_host_and_port(value: str) -> str | None:
    try:
        is_one = addresses.parse(value).written_port is not None
    except addresses.NotAnAddress:
        is_one = False
    return None if is_one else "no HOST:PORT"


Name = Annotated[str, why_no_name]
"""What something is called: on one line, and short enough to be shown."""

Time = Annotated[str, _why_no_time]
"""ISO 8601, with the time zone."""

Address = Annotated[str, _why_no_address]
"""The address of the service or of a Docker engine."""

HostAndPort = Annotated[str, _why_no_host_and_port]
"""In any form that ``addresses`` knows."""

Count = Annotated[int, Between(0, 10**12)]
Users = Annotated[float, Between(0, 10**6)]
Bytes = Annotated[int, Between(0, MOST_BYTES)]
Cpus = Annotated[float, Between(0.001, MOST_CPUS)]
Percent = Annotated[float, Between(0, 100 * MOST_CPUS)]
Seed = Annotated[int, Between(-(2**63), 2**63)]
Seconds = Annotated[float, Between(0, LONGEST_RUN_S)]
UnixTime = Annotated[float, Between(FIRST_UNIX_S, LAST_UNIX_S)]
