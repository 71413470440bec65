"""The changes of a plan: what is done to a deployment while the load goes on, and when.

A change is made by the experiment's own process, so a slow one delays those that are due meanwhile. Each row of the
file tells when it was due, and when it was made.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from infra.clock import unix_s
from infra.deployments.change import OF_ONE_REPLICA, WHY_NOT, Change, Made, MakeChange, actions_of
from infra.deployments.docker_engine import FAILURES, connect
from infra.deployments.swarm_mode import why_no_drain
from infra.errors import DeploymentError
from runfiles.columns import CHANGES_COLUMNS
from runfiles.deployments import DEPLOYMENTS, HOST, MOST_REPLICAS, title_of
from runfiles.events import CPU, DRAIN, ENDS, KILL, PAUSE, PLANNED, SCALE, SPIKE, SPIKE_OVER, STOP, UPDATE
from runfiles.files import CHANGES_SUFFIX, RUN_RECORD_SUFFIX
from runfiles.lines import tidy
from runfiles.records import RunRecord
from runfiles.spikes import LEAST_TIMES, MOST_TIMES, Spike
from servicefile import toml
from servicefile.toml import Check, number, one_of, or_none, whole

ROUNDS = 3
"""How often each deployment is loaded, if the plan does not say: intervals come from these."""

LEAST_AFTER_S = 5
"""So long before the end of the load the last change must be over: one takes some seconds, and comes late if the one
before is slow."""

USUAL_AFTER_S = 20
"""So long a load goes on after its last change, for one to see how the service recovers."""

MOST_CHANGES = 100
LONGEST_TEXT = 200

NEEDED = {
    PAUSE: ("seconds",),
    SCALE: ("replicas",),
    CPU: ("cpus",),
    DRAIN: ("seconds",),
    SPIKE: ("times", "seconds"),
}
"""Action -> the keys that it needs."""
KEYS = ("replica", "seconds", "replicas", "cpus", "times")
"""The keys that only some actions have."""


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
    found = toml.checked(table, _CHECKS, "[[changes]]", "[[changes]]", lambda _: toml.NO_DEFAULT)
    for key in ("at_s", "action"):
        if key not in found:
            raise toml.NotValid(f"[[changes]]: {key} is missing")
    change = Change(**found)
    needed = NEEDED.get(change.action, ())
    for key in needed:
        if found.get(key) is None:
            raise toml.NotValid(f"[[changes]]: {change.action} needs {key}")
    for key in KEYS:
        is_right = key in needed or (key == "replica" and change.action in OF_ONE_REPLICA)
        if found.get(key) is not None and not is_right:
            raise toml.NotValid(f"[[changes]]: {change.action} has no {key}; leave it out")
    return change


def as_tables(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [asdict(change) for change in changes]


def _action(value: Any) -> str:
    try:
        return str(one_of(PLANNED)(value))
    except ValueError:
        raise ValueError(f"an action; choose one of: {', '.join(PLANNED)}") from None


_CHECKS: dict[str, Check] = {
    "at_s": number("a number of seconds", 0, 3600),
    "action": _action,
    "replica": or_none(whole(1, MOST_REPLICAS)),
    "seconds": or_none(number("a number of seconds", 0.1, 3600)),
    "replicas": or_none(whole(1, MOST_REPLICAS)),
    "cpus": or_none(number("a number of cores", 0.01, 1024)),
    "times": or_none(number("how many times as high the rate is,", LEAST_TIMES, MOST_TIMES)),
}


def end_s(change: Change) -> float:
    """When a change is over, in s after the measured part of the load began; all that do not last are at once."""
    return change.at_s + (change.seconds or 0.0)


def why_together_wrong(changes: Sequence[Change], seconds: float, *, has_rate: bool) -> str | None:
    """Why these changes, in the order of time, can't all be made in a load of so many seconds. None if they can."""
    if not has_rate and any(change.action == SPIKE for change in changes):
        return "spike makes the rate of an open workload higher, and the plan has users; set rate"
    if reason := next(filter(None, itertools.starmap(_why_overlap, itertools.combinations(changes, 2))), None):
        return reason
    last = max(changes, key=end_s)
    if end_s(last) + LEAST_AFTER_S > seconds:
        end = math.ceil(end_s(last))
        return (
            f"the last change ({last.action} at_s = {last.at_s:g}) must end {LEAST_AFTER_S} s before the load does; "
            f"set seconds = {end + LEAST_AFTER_S} or more; {end + USUAL_AFTER_S} shows how it recovers"
        )
    return None


def _why_overlap(before: Change, after: Change) -> str | None:
    """Why a change can't be made while one that was made before goes on. None: it can, or that has ended."""
    if before.action not in ENDS or after.at_s >= end_s(before):
        return None
    replica = before.replica or 1
    is_same_replica = after.action not in OF_ONE_REPLICA or (after.replica or 1) == replica
    if before.action == after.action and is_same_replica:
        whose = f" of replica {replica}" if before.action == PAUSE else ""
        return f"the {after.action}{whose} at_s = {after.at_s:g} begins before that at_s = {before.at_s:g} has ended"
    if before.action == PAUSE and after.action in (KILL, STOP, UPDATE, DRAIN) and is_same_replica:
        return (
            f"the {after.action} at_s = {after.at_s:g} comes while replica {replica} is paused (from {before.at_s:g} "
            f"to {end_s(before):g} s), and no engine ends what is paused; set at_s = {end_s(before):g} or more"
        )
    if before.action == DRAIN and after.action == PAUSE:
        return (
            f"the pause at_s = {after.at_s:g} comes while the node is drained (from {before.at_s:g} to "
            f"{end_s(before):g} s), so there is no replica; set at_s = {end_s(before):g} or more"
        )
    return None


def spikes_of(changes: Sequence[Change]) -> list[Spike]:
    """What the load generator is told of the changes: it makes the spikes."""
    return [Spike(each.at_s, each.times or 1.0, each.seconds or 0.0) for each in changes if each.action == SPIKE]


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


def why_none_changed(names: Sequence[str], changes: Sequence[Change]) -> str | None:
    """Why none of these deployments can be changed as the plan says. None if one can."""
    found: dict[str, list[str]] = {}
    for name in names:
        reason = why_not_changed(name, changes)
        if reason is None:
            return None
        found.setdefault(reason, []).append(title_of(name))
    return "; ".join(f"{', '.join(titles)}: {reason}" for reason, titles in found.items())


def why_not_here(name: str, changes: Sequence[Change]) -> str | None:
    """As ``why_not_changed``, where an engine has to be asked."""
    kind = DEPLOYMENTS[name].kind
    asked = [change for change in changes if change.action in (CPU, DRAIN)]
    if not asked or kind == HOST:
        return None
    try:
        engine = connect()
        for change in asked:
            if engine.cpu_count is not None and (change.cpus or 0) > engine.cpu_count:
                return f"the plan has cpu of {change.cpus:g} cores, and the engine's machine has {engine.cpu_count}"
        return why_no_drain(engine) if any(change.action == DRAIN for change in asked) else None
    except DeploymentError as error:
        return str(error)


class Schedule:
    """The changes of one load. ``make_due`` makes those that are due; ``close`` ends a pause or drain that has not
    ended. A spike is made by the load generator, so there is nothing to do, and it comes when it is due."""

    def __init__(self, changes: Sequence[Change], prefix: Path, warm_up_s: float, change: MakeChange) -> None:
        self._left = _with_ends(changes)
        self._going: list[tuple[int, Change]] = []
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
        """End what is paused or drained, and close the file."""
        for which, change in self._going[:]:
            self._make(which, replace(change, action=ENDS[change.action]), unix_s())
        if self._file is not None:
            self._file.close()

    def _due_unix_s(self, change: Change) -> float | None:
        """None: the load has not begun. Its record is written anew when its time begins to count, so it is read again
        before anything is made."""
        after_s = self._warm_up_s + change.at_s
        if self._began_unix_s is None or self._began_unix_s + after_s <= unix_s():
            with suppress(OSError, ValueError):
                self._began_unix_s = RunRecord.read(self._record).started_at_unix_s
        return None if self._began_unix_s is None else self._began_unix_s + after_s

    def _make(self, number: int, change: Change, due_unix_s: float) -> str:
        if change.action in (SPIKE, SPIKE_OVER):
            made = Made("", f"{change.times:g} times the rate" if change.action == SPIKE else "the rate of before")
            self._write(number, change, made, "", due_unix_s, (due_unix_s, due_unix_s))
            return f"{change.action}: {made.detail}"
        began, error, made = unix_s(), "", Made("", "")
        try:
            made = self._change(change)
        except FAILURES as failure:
            error = tidy(str(failure))[:LONGEST_TEXT]
        self._write(number, change, made, error, due_unix_s, (began, unix_s()))
        if change.action in ENDS and not error:
            self._going.append((number, change))
        if change.action in ENDS.values():
            self._going = [going for going in self._going if going[0] != number]
        return f"{change.action}: {error or made.detail}"

    def _write(
        self, number: int, change: Change, made: Made, error: str, due_unix_s: float, at_unix_s: tuple[float, float]
    ) -> None:
        """``at_unix_s``: when it was begun, and made."""
        names = [column.name for column in CHANGES_COLUMNS]
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(names)
        values = {
            "began_at_unix_s": at_unix_s[0],
            "number": number,
            "action": change.action,
            "due_at_unix_s": due_unix_s,
            "ended_at_unix_s": at_unix_s[1],
            "replica": made.replica,
            "detail": made.detail,
            "error": error,
        }
        csv.writer(self._file).writerow([values[name] for name in names])
        self._file.flush()


def _with_ends(changes: Sequence[Change]) -> list[tuple[int, Change]]:
    """The changes with their numbers, and after each that lasts its end, before what begins at that moment."""
    numbered = list(enumerate(changes, 1))
    ends = [
        (number, replace(change, action=ENDS[change.action], at_s=end_s(change)))
        for number, change in numbered
        if change.action in ENDS
    ]
    return sorted([*ends, *numbered], key=lambda each: each[1].at_s)
