"""A run with planned changes second by second, and when each replica was there: what the timeline draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.measure.quantity import NAN
from analysis.measure.recovery import FEWEST_IN_SECOND
from analysis.measure.spans import end_of_load
from analysis.read.runs import Run
from runfiles.events import ENDED, FOUND, RESTARTED, STARTED

LEAST_FOR_P95 = 10
"""A second has a p95 from so many answers on."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """Each whole second of the measured phase, from 0 on: answers and failed requests that came in it, and the median
    and the p95 (ms) of the answers to requests that were due in it; NaN: too few."""

    answered: np.ndarray
    failed: np.ndarray
    median_ms: np.ndarray
    p95_ms: np.ndarray


@dataclass(frozen=True)
class Life:
    """When a replica was there, in s since the measured phase began, as far as the run reaches. ``is_new``: it was
    started meanwhile; ``ended``: it ended meanwhile."""

    replica: str
    from_s: float
    to_s: float
    is_new: bool
    ended: bool


def timeline_of(run: Run) -> Timeline:
    """The measured phase of a run in seconds."""
    start = run.window_unix_s[0]
    seconds = int(end_of_load(run) - start)
    requests = run.measured_requests
    due = requests["started_at_unix_s"].to_numpy() - start
    over = due + requests["response_time_ms"].to_numpy() / 1000
    is_answered = (requests["error"] == "").to_numpy()
    times = requests["response_time_ms"].to_numpy()
    second = np.floor(due).astype(int)
    median, p95 = np.full(seconds, NAN), np.full(seconds, NAN)
    for place in range(seconds):
        own = times[is_answered & (second == place)]
        if len(own) >= FEWEST_IN_SECOND:
            median[place] = np.median(own)
        if len(own) >= LEAST_FOR_P95:
            p95[place] = np.quantile(own, 0.95)
    return Timeline(_counts(over[is_answered], seconds), _counts(over[~is_answered], seconds), median, p95)


def _counts(at_s: np.ndarray, seconds: int) -> np.ndarray:
    return np.bincount(at_s[(at_s >= 0) & (at_s < seconds)].astype(int), minlength=seconds)


def lives_of(run: Run) -> list[Life]:
    """The replicas of a run by its events, in the order in which they came; one that was restarted has two lives."""
    start = run.window_unix_s[0]
    last_s = end_of_load(run) - start
    there: dict[tuple[str, str], Life] = {}
    over: list[Life] = []
    for event in run.events.to_dict("records"):
        who = (str(event["replica"]), str(event["replica_id"]))
        at_s = min(max(0.0, float(event["at_unix_s"]) - start), last_s)
        if event["event"] in (ENDED, RESTARTED) and who in there:
            life = there.pop(who)
            over.append(Life(life.replica, life.from_s, at_s, life.is_new, ended=True))
        if event["event"] in (FOUND, STARTED, RESTARTED):
            there[who] = Life(who[0], at_s, last_s, is_new=event["event"] != FOUND and at_s > 0, ended=False)
    found = [life for life in (*over, *there.values()) if life.to_s > life.from_s]
    return sorted(found, key=lambda life: (life.from_s, life.replica))
