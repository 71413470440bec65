"""The spans of planned changes: which rows of a run belong to which change.

A change counts from its begin to the begin of the next one, or to the end of the load (its *span*). The end of a change
that lasts, such as a pause, belongs to it. docs/changes.md says more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.measure.offered import due_between
from analysis.measure.quantity import NAN
from analysis.read.runs import Run
from runfiles.events import DROPPED, ENDS, OVER_BOUND, RUN_TIME, UNANSWERED

BEFORE_S = 20
"""A change is compared with so many whole seconds before it, or with as many as there are since the change before."""
UNSENT = {DROPPED: "dropped", OVER_BOUND: "over_bound", UNANSWERED: "unanswered"}
"""What may become of a request instead of a row -> its name in the record of a run."""


@dataclass(frozen=True)
class Outcome:
    """A time in s. ``is_never``: it did not come to pass before the span ended. ``missing``: why it is not known, or
    why there is none. One of the three holds."""

    value: float = NAN
    is_never: bool = False
    missing: str = ""

    @property
    def is_told(self) -> bool:
        return not self.is_never and not self.missing


NEVER = Outcome(is_never=True)


@dataclass(frozen=True)
class Change:
    """A change that was made. ``number``: its place in the plan, from 1. ``replica`` is empty if it was made to all.
    ``over_unix_s``: when one that lasts was over, such as a pause; NaN: it does not last, or was not ended."""

    number: int
    action: str
    began_unix_s: float
    replica: str = ""
    over_unix_s: float = NAN


@dataclass(frozen=True, eq=False)
class Span:
    """The rows of a run that belong to a change.

    ``owned``: the requests that were over (answered or failed) in the span, also those that waited for their answer
    when it began. ``due``: the requests that were due (sent, if users wait for their answers) in it. ``before``: those
    that were over in the ``BEFORE_S`` seconds before. ``unsent``: arrivals of an open workload without a row, by the
    names of ``UNSENT``. ``is_last``: the span ends with the load, and not with the next change.
    """

    change: Change
    end_unix_s: float
    is_last: bool
    before: pd.DataFrame
    before_from_unix_s: float
    owned: pd.DataFrame
    due: pd.DataFrame
    unsent: Mapping[str, int]

    @property
    def length_s(self) -> float:
        return self.end_unix_s - self.change.began_unix_s

    @cached_property
    def answers(self) -> pd.DataFrame:
        """Those of ``owned`` that were answered."""
        return self.owned[(self.owned["error"] == "").to_numpy()]

    @cached_property
    def answered_unix_s(self) -> np.ndarray:
        """When each of ``answers`` was over."""
        return (self.answers["started_at_unix_s"] + self.answers["response_time_ms"] / 1000).to_numpy()


def changes_of(run: Run) -> list[Change]:
    """The changes that were made, in the order of time."""
    rows = [row for row in run.changes.to_dict("records") if not row["error"]]
    over = {int(row["number"]): row["began_at_unix_s"] for row in rows if row["action"] in ENDS.values()}
    return [
        Change(
            number=int(row["number"]),
            action=str(row["action"]),
            began_unix_s=float(row["began_at_unix_s"]),
            replica=str(row["replica"]),
            over_unix_s=float(over.get(int(row["number"]), NAN)),
        )
        for row in rows
        if row["action"] not in ENDS.values()
    ]


def end_of_load(run: Run) -> float:
    """When the last request of a run was due: after its run time, if that ended it."""
    end = run.window_unix_s[1]
    if run.record.ended_by == RUN_TIME and run.record.run_time_s is not None:
        return min(end, run.record.started_at_unix_s + run.record.run_time_s)
    return end


def spans(run: Run) -> list[Span]:
    """The span of each change that was made. Also a change that failed ends the span before it: it may have done
    something."""
    is_end = run.changes["action"].isin(ENDS.values()).to_numpy()
    tried = run.changes[~is_end]["began_at_unix_s"].to_numpy()
    measured = run.measured_requests.sort_values("started_at_unix_s", kind="stable")
    due = measured["started_at_unix_s"].to_numpy()
    over = due + measured["response_time_ms"].to_numpy() / 1000
    start, load_end = run.window_unix_s[0], end_of_load(run)
    found = []
    for change in changes_of(run):
        began = change.began_unix_s
        later, earlier = tried[tried > began], tried[tried < began]
        end = float(later.min(initial=load_end))
        is_last = not len(later)
        past = began - max(start, float(earlier.max(initial=start)))
        before_from = began - min(BEFORE_S, int(past))
        is_owned = (over >= began) & ((over < end) | is_last)
        is_due = (due >= began) & ((due < end) | is_last)
        is_before = (due >= before_from) & (over < began)
        before, owned, own_due = (measured[mask] for mask in (is_before, is_owned, is_due))
        found.append(Span(change, end, is_last, before, before_from, owned, own_due, {}))
    return [replace(span, unsent=own) for span, own in zip(found, _unsent(run, found), strict=True)]


def _unsent(run: Run, found: Sequence[Span]) -> list[dict[str, int]]:
    """How many arrivals without a row belong to each span. They have no time, so with several changes they are divided
    as the rows are that lack there at the rate of the run."""
    if run.record.open is None:
        return [dict.fromkeys(UNSENT.values(), 0) for _ in found]
    start = run.window_unix_s[0]
    places = [(span.change.began_unix_s - start, span.end_unix_s - start) for span in found]
    lacking = np.array(
        [max(0.0, due_between(run, *own) - len(span.due)) for own, span in zip(places, found, strict=True)]
    )
    counts = {name: divided(getattr(run.record.open, name), lacking) for name in UNSENT.values()}
    return [{name: own[place] for name, own in counts.items()} for place in range(len(found))]


def divided(total: int, weights: np.ndarray) -> list[int]:
    """A count in whole parts that are as the weights (largest remainders); all to the first if there are no weights."""
    if not weights.sum():
        return [total if place == 0 else 0 for place in range(len(weights))]
    exact = total * weights / weights.sum()
    parts = np.floor(exact).astype(int)
    most = np.argsort(parts - exact, kind="stable")[: total - int(parts.sum())]
    parts[most] += 1
    return [int(part) for part in parts]
