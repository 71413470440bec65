"""What the two JSON records must say: which fields there are, of which types, and between which limits."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import runfiles.strict_json
from runfiles.columns import FIRST_UNIX_S, LAST_UNIX_S
from runfiles.events import FAILED, MEASURED, NOT_RUN
from runfiles.files import FORM, LOAD, SINGLE_PASS

LONGEST_RUN_S = 7 * 24 * 3600
"""A record that tells of more has a wrong time in it; figures by second would fill the memory."""
FIRST_YEAR, LAST_YEAR = 2000, 2100
MOST_BYTES = 2**60
MOST_CPUS = 100_000
MOST_ROUNDS = 10_000
MOST_OF_A_NAME = 200


class UnreadableResults(Exception):
    """Files that are not what an experiment leaves. The message says which, what is wrong, and what to do."""


@dataclass(frozen=True)
class Field:
    """One field, and which types it may have. ``may_lack``: it may be null, or not there at all."""

    types: tuple[type, ...]
    may_lack: bool = False

    def wrong(self, value: Any) -> str | None:
        """What is wrong with a value; None where nothing is."""
        if value is None:
            return None if self.may_lack else "is missing"
        if not isinstance(value, self.types) or (isinstance(value, bool) and bool not in self.types):
            return f"is {reprlib.repr(value)}, which is no {TYPE_NAMES[self.types[-1]]}"
        return self._why_not(value)

    def _why_not(self, value: Any) -> str | None:
        """What is wrong with a value of the right type."""
        return None


@dataclass(frozen=True)
class Number(Field):
    """A number between two limits."""

    types: tuple[type, ...] = (int, float)
    least: float = 0
    most: float = 1e12

    def _why_not(self, value: Any) -> str | None:
        if self.least <= value <= self.most:
            return None
        return f"is {reprlib.repr(value)}, which is not between {self.least:,} and {self.most:,}"


@dataclass(frozen=True)
class Word(Field):
    """One of a few words."""

    types: tuple[type, ...] = (str,)
    words: tuple[str, ...] = ()

    def _why_not(self, value: Any) -> str | None:
        return None if value in self.words else f"is {reprlib.repr(value)}, which is none of {', '.join(self.words)}"


@dataclass(frozen=True)
class ListOf(Field):
    """A list of which each item is an ``item``."""

    types: tuple[type, ...] = (list,)
    item: Field = Field((object,))

    def _why_not(self, value: Any) -> str | None:
        wrong = ((place, self.item.wrong(one)) for place, one in enumerate(value, 1))
        return next((f"number {place} {reason}" for place, reason in wrong if reason), None)


@dataclass(frozen=True)
class Name(Field):
    """What something is called: on one line, and short enough to be shown."""

    types: tuple[type, ...] = (str,)

    def _why_not(self, value: Any) -> str | None:
        is_name = value.isprintable() and 0 < len(value) <= MOST_OF_A_NAME
        return None if is_name else f"is {reprlib.repr(value)}, which is no name"


@dataclass(frozen=True)
class Moment(Field):
    """A time in ISO 8601."""

    types: tuple[type, ...] = (str,)

    def _why_not(self, value: Any) -> str | None:
        with suppress(ValueError):
            if FIRST_YEAR <= datetime.fromisoformat(value).year < LAST_YEAR:
                return None
        return f"is {reprlib.repr(value)}, which is no time between {FIRST_YEAR} and {LAST_YEAR}"


@dataclass(frozen=True)
class Address(Field):
    """The address of the service or of an engine."""

    types: tuple[type, ...] = (str,)

    def _why_not(self, value: Any) -> str | None:
        try:
            urlsplit(value)
        except ValueError:
            return f"is {reprlib.repr(value)}, which is no address"
        return None


TYPE_NAMES = {str: "text", dict: "table", list: "list", bool: "yes or no", float: "number", int: "whole number"}

TEXT, MAYBE_TEXT = Field((str,)), Field((str,), may_lack=True)
TABLE, MAYBE_TABLE = Field((dict,)), Field((dict,), may_lack=True)
TEXTS, MAYBE_TEXTS = ListOf(item=TEXT), ListOf(item=TEXT, may_lack=True)
TABLES, MAYBE_TABLES = ListOf(item=TABLE), ListOf(item=TABLE, may_lack=True)
MAYBE_MOMENT, MAYBE_ADDRESS = Moment(may_lack=True), Address(may_lack=True)
MAYBE_FLAG = Field((bool,), may_lack=True)
COUNT, MAYBE_COUNT = Number(), Number(may_lack=True)
USERS, MAYBE_USERS = Number(most=10**6), Number(most=10**6, may_lack=True)
MAYBE_BYTES = Number(most=MOST_BYTES, may_lack=True)
MAYBE_CPUS = Number(least=0.001, most=MOST_CPUS, may_lack=True)
MAYBE_PERCENT = Number(most=100 * MOST_CPUS, may_lack=True)
MAYBE_SEED = Number(least=-(2**63), most=2**63, may_lack=True)
SECONDS, MAYBE_SECONDS = Number(most=LONGEST_RUN_S), Number(most=LONGEST_RUN_S, may_lack=True)
UNIX_S = Number(least=FIRST_UNIX_S, most=LAST_UNIX_S)
MAYBE_UNIX_S = Number(least=FIRST_UNIX_S, most=LAST_UNIX_S, may_lack=True)
STATUS = Word(words=(MEASURED, FAILED, NOT_RUN))
RUNS = ListOf(item=Word(words=(SINGLE_PASS, LOAD)), may_lack=True)

EXPERIMENT: Mapping[str, Field] = {
    "started_at": Moment(),
    "ended_at": MAYBE_MOMENT,
    "resumed_at": ListOf(item=Moment(), may_lack=True),
    "command": TEXT,
    "order": ListOf(item=TEXTS, may_lack=True),
    "versions": MAYBE_TABLE,
    "plan": TABLE,
    "plan.deployments": MAYBE_TEXTS,
    "plan.users": USERS,
    "plan.seconds": MAYBE_SECONDS,
    "plan.requests": MAYBE_COUNT,
    "plan.rounds": Number(least=1, most=MOST_ROUNDS),
    "plan.warm_up_s": SECONDS,
    "plan.user_class": TEXT,
    "plan.seed": MAYBE_SEED,
    "plan.cpus": MAYBE_CPUS,
    "plan.memory_mb": Number(most=MOST_BYTES // 10**6, may_lack=True),
    "machine": TABLE,
    "machine.node": MAYBE_TEXT,
    "machine.system": MAYBE_TEXT,
    "machine.kernel": MAYBE_TEXT,
    "machine.cpu_model": MAYBE_TEXT,
    "machine.architecture": MAYBE_TEXT,
    "machine.memory_bytes": MAYBE_BYTES,
    "machine.cpu_count": MAYBE_CPUS,
    "engine": MAYBE_TABLE,
    "engine.endpoint": MAYBE_ADDRESS,
    "engine.version": MAYBE_TEXT,
    "engine.kernel": MAYBE_TEXT,
    "engine.architecture": MAYBE_TEXT,
    "engine.operating_system": MAYBE_TEXT,
    "engine.memory_bytes": MAYBE_BYTES,
    "engine.cpu_count": MAYBE_CPUS,
    "git": MAYBE_TABLE,
    "git.commit": MAYBE_TEXT,
    "git.dirty": MAYBE_FLAG,
    "deployments": TABLES,
}
DEPLOYMENT: Mapping[str, Field] = {
    "name": Name(),
    "status": STATUS,
    "reason": MAYBE_TEXT,
    "image": MAYBE_TABLE,
    "image.name": MAYBE_TEXT,
    "image.id": MAYBE_TEXT,
    "image.bytes": MAYBE_BYTES,
    "rounds": TABLES,
}
ROUND: Mapping[str, Field] = {
    "number": Number((int,), least=1, most=MOST_ROUNDS),
    "status": STATUS,
    "reason": MAYBE_TEXT,
    "folder": TEXT,
    "started_at": MAYBE_MOMENT,
    "seconds_to_healthy": MAYBE_SECONDS,
    "runs": RUNS,
    "limits": MAYBE_TABLE,
    "limits.cpus": MAYBE_CPUS,
    "limits.memory_bytes": MAYBE_BYTES,
}
RUN: Mapping[str, Field] = {
    "user_class": TEXT,
    "host": MAYBE_ADDRESS,
    "users": MAYBE_USERS,
    "spawn_rate": MAYBE_USERS,
    "run_time_s": MAYBE_SECONDS,
    "warm_up_s": SECONDS,
    "seed": MAYBE_SEED,
    "end_after_requests": MAYBE_COUNT,
    "started_at_unix_s": UNIX_S,
    "ended_at_unix_s": MAYBE_UNIX_S,
    "ended_by": MAYBE_TEXT,
    "requests": MAYBE_COUNT,
    "failures": MAYBE_COUNT,
    "faults": MAYBE_TABLES,
    "service": MAYBE_TABLE,
    "service.model": MAYBE_TABLE,
    "service.model.name": MAYBE_TEXT,
    "service.model.source": MAYBE_TEXT,
    "service.model.sha256": MAYBE_TEXT,
    "service.engine": MAYBE_TABLE,
    "service.engine.name": MAYBE_TEXT,
    "service.engine.device": MAYBE_TEXT,
    "service.engine.weights": MAYBE_TEXT,
    "service.versions": MAYBE_TABLE,
    "versions": MAYBE_TABLE,
    "texts": TABLE,
    "texts.file": MAYBE_TEXT,
    "texts.sha256": TEXT,
    "texts.count": MAYBE_COUNT,
    "replicas": TABLE,
    "replicas.asked": MAYBE_TEXT,
    "replicas.found": MAYBE_TEXT,
    "replicas.sampling": MAYBE_TEXT,
    "replicas.interval_s": MAYBE_SECONDS,
    "replicas.list": TABLES,
    "replicas.problems": TEXTS,
    "generator": TABLE,
    "generator.cpu_percent": MAYBE_PERCENT,
    "generator.cpu_percent_all": MAYBE_PERCENT,
    "generator.cpu_warnings": COUNT,
    "machine": MAYBE_TABLE,
    "machine.node": MAYBE_TEXT,
    "machine.cpu_percent": MAYBE_PERCENT,
}
REPLICA: Mapping[str, Field] = {
    "name": TEXT,
    "id": TEXT,
    "node": MAYBE_TEXT,
    "sampled": MAYBE_FLAG,
    "reason": MAYBE_TEXT,
    "sources": MAYBE_TABLE,
    "answers_as": MAYBE_TEXTS,
}
FAULT: Mapping[str, Field] = {"kind": TEXT, "text": TEXT}
"""Where a field stands in the JSON -> what it must be for the figures to mean anything."""


def read_record(path: Path, fields: Mapping[str, Field]) -> dict[str, Any]:
    """A JSON record of our form that says what is needed of it.

    Raises:
        UnreadableResults: it can't be read, or a field is not what it must be; the message names file and field.
    """
    try:
        record = runfiles.strict_json.read_record(path)
    except (ValueError, OSError) as error:
        raise unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    if not isinstance(record, dict):
        raise unreadable(path, "it is no JSON object")
    form = record.get("form")
    if form != FORM:
        raise UnreadableResults(f"{path} is of form {str(form)[:40]}, this version reads form {FORM}; measure again")
    check(path, "", record, fields)
    return record


def check(path: Path, place: str, record: Mapping[str, Any], fields: Mapping[str, Field]) -> None:
    """Whether a part of a record, which stands at ``place``, has all its fields.

    Raises:
        UnreadableResults: it has not; the message names file and field.
    """
    for name, field in fields.items():
        value: Any = record
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if reason := field.wrong(value):
            raise unreadable(path, f"{place}{name} {reason}")


def unreadable(path: Path, reason: str) -> UnreadableResults:
    """The error that says why a file can't be read."""
    return UnreadableResults(f"{path} can't be read ({reason}); measure again")
