"""The changes of a plan: what is done to a deployment while the load goes on, and when.

A change is made by the experiment's own process, so a slow one delays those that are due meanwhile. Each row of the
file tells when it was due, and when it was made.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from infra.clock import unix_s
from infra.deployments.change import OF_ONE_REPLICA, WHY_NOT, Change, Made, MakeChange, actions_of
from infra.deployments.docker_engine import FAILURES
from runfiles.columns import CHANGES_COLUMNS
from runfiles.deployments import DEPLOYMENTS, MOST_REPLICAS
from runfiles.events import PAUSE, PLANNED, RESUME, SCALE
from runfiles.files import CHANGES_SUFFIX, RUN_RECORD_SUFFIX
from runfiles.lines import tidy
from runfiles.records import RunRecord
from servicefile import toml
from servicefile.toml import Check, number, one_of, or_none, whole

ROUNDS = 3
"""How often each deployment is loaded, if the plan does not say: intervals come from these."""

MOST_CHANGES = 100
LONGEST_TEXT = 200

NEEDED = {PAUSE: "seconds", SCALE: "replicas"}
"""Action -> the key that it needs."""


def changes_of(value: Any) -> tuple[Change, ...]:
    """What the tables ``changes`` of a plan say, in the order of time.

    Raises:
        ValueError: they are no tables, or too many.
        NotValid: one of them says something that can't be.
    """
    example = 'a list of tables, such as [[changes]] with at_s = 5 and action = "kill"'
    if not isinstance(value, list | tuple) or len(value) > MOST_CHANGES:
        raise ValueError(f"{example}, at most {MOST_CHANGES}")
    return tuple(sorted((_change_of(table, example) for table in value), key=lambda change: change.at_s))


def _change_of(table: Any, example: str) -> Change:
    if not isinstance(table, Mapping):
        raise ValueError(example)  # noqa: TRY004  no caller's slip
    found = toml.checked(table, _CHECKS, "[[changes]]", "[[changes]]", lambda _: None)
    for key in ("at_s", "action"):
        if key not in found:
            raise toml.NotValid(f"[[changes]]: {key} is missing")
    change = Change(**found)
    needed = NEEDED.get(change.action)
    if needed is not None and found.get(needed) is None:
        raise toml.NotValid(f"[[changes]]: {change.action} needs {needed}")
    for key in ("replica", "seconds", "replicas"):
        is_right = key == needed or (key == "replica" and change.action in OF_ONE_REPLICA)
        if found.get(key) is not None and not is_right:
            raise toml.NotValid(f"[[changes]]: {change.action} has no {key}; leave it out")
    return change


def as_tables(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [asdict(change) for change in changes]


_CHECKS: dict[str, Check] = {
    "at_s": number("a number of seconds", 0, 3600),
    "action": one_of(PLANNED),
    "replica": or_none(whole(1, MOST_REPLICAS)),
    "seconds": or_none(number("a number of seconds", 0.1, 3600)),
    "replicas": or_none(whole(1, MOST_REPLICAS)),
}


def why_not_changed(name: str, changes: Sequence[Change]) -> str | None:
    """Why a deployment can't be changed as the plan says. None if it can."""
    row = DEPLOYMENTS[name]
    possible = actions_of(row.kind)
    for change in changes:
        if change.action not in possible:
            why = WHY_NOT.get(change.action, "its deployment has no such command")
            return f"the plan has {change.action}, which is not possible here: {why}"
        most = max([row.replicas, *(each.replicas or 0 for each in changes)])
        if (change.replica or 1) > most:
            return f"the plan has {change.action} of replica {change.replica}, and there are never more than {most}"
    return None


class Schedule:
    """The changes of one load. ``make_due`` makes those that are due; ``close`` undoes a pause that has not ended."""

    def __init__(self, changes: Sequence[Change], prefix: Path, warm_up_s: float, change: MakeChange) -> None:
        self._left = _with_resumes(changes)
        self._paused: list[tuple[int, Change]] = []
        self._record = Path(f"{prefix}{RUN_RECORD_SUFFIX}")
        self._path = Path(f"{prefix}{CHANGES_SUFFIX}")
        self._warm_up_s = warm_up_s
        self._change = change
        self._began_unix_s: float | None = None
        self._file: TextIO | None = None

    def make_due(self) -> str | None:
        """Make the changes that are due now. Returns the last one in words; None: none was due."""
        said = None
        while self._left and (due := self._due_unix_s(self._left[0][1])) is not None and due <= unix_s():
            number, change = self._left.pop(0)
            said = self._make(number, change, due)
        return said

    def close(self) -> None:
        """Let go on what is paused, and close the file."""
        for which, change in self._paused[:]:
            self._make(which, replace(change, action=RESUME), unix_s())
        if self._file is not None:
            self._file.close()

    def _due_unix_s(self, change: Change) -> float | None:
        """None: the load has not begun."""
        if self._began_unix_s is None:
            with suppress(OSError, ValueError):
                self._began_unix_s = RunRecord.read(self._record).started_at_unix_s
        return None if self._began_unix_s is None else self._began_unix_s + self._warm_up_s + change.at_s

    def _make(self, number: int, change: Change, due_unix_s: float) -> str:
        began, error, made = unix_s(), "", Made("", "")
        try:
            made = self._change(change)
        except FAILURES as failure:
            error = tidy(str(failure))[:LONGEST_TEXT]
        self._write(number, change, made, error, due_unix_s, began)
        if change.action == PAUSE and not error:
            self._paused.append((number, change))
        if change.action == RESUME:
            self._paused = [paused for paused in self._paused if paused[0] != number]
        return f"{change.action}: {error or made.detail}"

    def _write(self, number: int, change: Change, made: Made, error: str, due_unix_s: float, began: float) -> None:
        names = [column.name for column in CHANGES_COLUMNS]
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(names)
        values = {
            "began_at_unix_s": began,
            "number": number,
            "action": change.action,
            "due_at_unix_s": due_unix_s,
            "ended_at_unix_s": unix_s(),
            "replica": made.replica,
            "detail": made.detail,
            "error": error,
        }
        csv.writer(self._file).writerow([values[name] for name in names])
        self._file.flush()


def _with_resumes(changes: Sequence[Change]) -> list[tuple[int, Change]]:
    """The changes with their numbers, and after each pause its end."""
    numbered = list(enumerate(changes, 1))
    ends = [
        (number, replace(change, action=RESUME, at_s=change.at_s + (change.seconds or 0.0)))
        for number, change in numbered
        if change.action == PAUSE
    ]
    return sorted([*numbered, *ends], key=lambda each: each[1].at_s)
