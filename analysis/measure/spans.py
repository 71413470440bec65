"""The spans of planned changes: which rows of a run belong to which change.

A change counts from its begin to the begin of the next one, or to the end of the load (its *span*). The end of a change
that lasts, such as a pause, belongs to it. docs/changes.md says more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.measure.offered import due_between
from analysis.measure.quantity import NAN
from analysis.read.runs import Run
from runfiles.events import DROPPED, ENDS, OVER_BOUND, RUN_TIME, UNANSWERED

MOMENT_S = 0.1
"""What is under way when a run ends may have been due in so long a time before."""
BEFORE_S = 20
"""A change is compared with so many whole seconds before it, or with as many as there are since the change before."""
UNSENT = {DROPPED: "dropped", OVER_BOUND: "over_bound", UNANSWERED: "unanswered"}
"""What may become of a request instead of a row -> its name in the record of a run."""
CUT_OFF = "cut_off"
"""The name of the unanswered requests of a run that its end only cut off."""


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
    names of ``UNSENT``, and those that the end of the run only cut off (``CUT_OFF``). ``is_last``: the span ends with
    the load, and not with the next change.
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
    """The span of each change that was made."""
    changes = changes_of(run)
    if not changes:
        return []
    begins = np.array([change.began_unix_s for change in changes])
    measured = run.measured_requests.sort_values("started_at_unix_s", kind="stable")
    due = measured["started_at_unix_s"].to_numpy()
    over = due + measured["response_time_ms"].to_numpy() / 1000
    start, load_end = run.window_unix_s[0], end_of_load(run)
    found = []
    for change in changes:
        began = change.began_unix_s
        later, earlier = begins[begins > began], begins[begins < began]
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
    """How many arrivals without a row belong to each span. What was under way when the run ended belongs to the last.
    Those that were not sent have no time, so with several changes they are divided as the rows are that lack there at
    the rate of the run."""
    nothing = dict.fromkeys([*UNSENT.values(), CUT_OFF], 0)
    if run.record.open is None or not found:
        return [nothing for _ in found]
    start = run.window_unix_s[0]
    places = [(span.change.began_unix_s - start, span.end_unix_s - start) for span in found]
    lacking = np.array(
        [max(0.0, due_between(run, *own) - len(span.due)) for own, span in zip(places, found, strict=True)]
    )
    not_sent = [UNSENT[DROPPED], UNSENT[OVER_BOUND]]
    counts = {name: divided(getattr(run.record.open, name), lacking) for name in not_sent}
    each = [nothing | {name: own[place] for name, own in counts.items()} for place in range(len(found))]
    name = CUT_OFF if is_cut_off(run) else UNSENT[UNANSWERED]
    each[-1][name] = run.record.open.unanswered
    return each


def is_cut_off(run: Run) -> bool:
    """Whether the requests that were under way when a run ended were only cut off: others were over in its last second,
    and these are no more than were due within the time that the slowest of those took, at least ``MOMENT_S``."""
    if run.record.open is None or not run.record.open.unanswered:
        return False
    end = end_of_load(run)
    over = run.measured_requests["started_at_unix_s"] + run.measured_requests["response_time_ms"] / 1000
    last = run.measured_requests["response_time_ms"][(over >= end - 1).to_numpy()]
    if last.empty:
        return False
    to_s = end - run.window_unix_s[0]
    usual = due_between(run, to_s - max(MOMENT_S, float(last.max()) / 1000), to_s)
    return run.record.open.unanswered <= math.ceil(round(usual, 6))


def divided(total: int, weights: np.ndarray) -> list[int]:
    """A count in whole parts that are as the weights (largest remainders); all to the first if there are no weights."""
    if not weights.sum():
        return [total if place == 0 else 0 for place in range(len(weights))]
    exact = total * weights / weights.sum()
    parts = np.floor(exact).astype(int)
    most = np.argsort(parts - exact, kind="stable")[: total - int(parts.sum())]
    parts[most] += 1
    return [int(part) for part in parts]
