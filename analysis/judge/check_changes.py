"""Loads in which deployments were changed as planned: whether the changes were made, and what else speaks against them.

What a change causes is what is measured: failed requests, replicas that end and start, an overload, and rising response
times. These are reasons only before the first change. All others hold for the whole load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from analysis.judge.check_load import generator_doubts, load_doubts, steady_doubts
from analysis.judge.check_open import OVERLOAD, open_doubts
from analysis.judge.check_replicas import limit_doubts, replica_doubts
from analysis.judge.check_requests import request_doubts
from analysis.judge.doubts import LONGEST_QUOTE, Doubt, Reasons
from analysis.measure.recovery import FEW_BEFORE, latency_limit_ms
from analysis.measure.spans import changes_of, end_of_load, spans
from analysis.read.results import Results
from analysis.read.runs import Run
from runfiles.events import DRAIN, ENDS, KILL, LATE_MS, SCALE, STOP, UNSAMPLED, UPDATE
from runfiles.rates import GENERATOR_LIMIT
from runfiles.records import ChangeRecord

CHANGE = "change"
"""The kind of the reason that a planned change was not made."""
ENDING = (KILL, STOP, DRAIN, UPDATE, SCALE)
"""The changes that end replicas."""
NOT_FOUND = "can't be found"
"""So the monitor says that there is no replica."""
LATE_S = 1.0
"""A change that began so much later than it was due is a caveat."""


def changed_load_doubts(run: Run) -> Reasons:
    """What speaks against a load in which the deployment was changed. A replica that was not sampled may be a new one,
    so that is no reason against it."""
    before = run.before_changes
    found = generator_doubts(run) + limit_doubts(run) + load_doubts(run, is_mixed=True)
    found += [(text, "" if kind == UNSAMPLED else kind) for text, kind in request_doubts(run)]
    found += [(text, kind) for text, kind in replica_doubts(before) if not _is_caused(text, run)]
    found += steady_doubts(before)
    if any(math.isnan(latency_limit_ms(span)) for span in spans(run)):
        found.append((f"{FEW_BEFORE}: let at least 5 s, better 20 s, pass before each change", ""))
    return found


def _is_caused(text: str, run: Run) -> bool:
    """Whether a doubt only says that replicas are gone, and a change ended some."""
    return NOT_FOUND in text and any(change.action in ENDING for change in changes_of(run))


def changed_rate_doubts(runs: Mapping[int, Run]) -> list[tuple[list[int], str, str]]:
    """As ``open_doubts``, of loads in which the deployment was changed. That too many requests wait is what is
    measured. A container that starts may take the CPU of the load generator, so that this sends late; from the first
    change on that is a caveat."""
    return [
        (numbers, text, kind if any(_late_before(runs[number]) > GENERATOR_LIMIT for number in numbers) else "")
        for numbers, text, kind in open_doubts(runs, has_several_rates=False)
        if kind != OVERLOAD
    ]


def _late_before(run: Run) -> float:
    """The share of the requests before the first change that were sent late."""
    delays = run.before_changes.measured_requests["send_delay_ms"]
    return float((delays > LATE_MS).mean()) if len(delays) else 0.0


def change_doubts(results: Results) -> list[Doubt]:
    """Whether each load had the changes of the plan, and no others."""
    planned = results.experiment.plan.changes
    found = []
    for deployment in results.deployments:
        rounds: dict[tuple[str, str], list[str]] = {}
        for number, run in deployment.loads.items():
            for reason in _of_run(run, planned):
                rounds.setdefault(reason, []).append(str(number))
        for (text, kind), numbers in rounds.items():
            where = f"{deployment.title}, load of round{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"
            found.append(Doubt(f"{where}: {text}", kind, (deployment.name,) if kind else ()))
    return found


def _of_run(run: Run, planned: tuple[ChangeRecord, ...]) -> Reasons:
    rows = run.changes.to_dict("records")
    if rows and not planned:
        return [("changes were made, but the plan has none", "contradiction")]
    found: Reasons = []
    for number, change in enumerate(planned, 1):
        own = [row for row in rows if row["number"] == number]
        actions = [change.action, *([ENDS[change.action]] if change.action in ENDS else [])]
        for action in actions:
            row = next((row for row in own if row["action"] == action), None)
            what = f"change {number} ({action}, {change.at_s:g} s after the measured part began)"
            if row is None:
                found.append((f"{what} was not made: no record of it is there", CHANGE))
            elif row["error"]:
                found.append((f"{what} could not be made: {str(row['error'])[:LONGEST_QUOTE]}", CHANGE))
            elif row["began_at_unix_s"] > row["due_at_unix_s"] + LATE_S:
                late_s = row["began_at_unix_s"] - row["due_at_unix_s"]
                found.append((f"{what} began {late_s:.1f} s late; times count from when it began", ""))
            if row is not None and not row["error"] and row["began_at_unix_s"] >= end_of_load(run):
                found.append((f"{what} was not made: the load had ended", CHANGE))
        strange = [row["action"] for row in own if row["action"] not in actions]
        if strange or len(own) > len(actions):
            found.append((f"change {number} is not that of the plan, or was made twice", "contradiction"))
    if any(not (1 <= row["number"] <= len(planned) and row["number"] % 1 == 0) for row in rows):
        found.append(("a change was made that is not in the plan", "contradiction"))
    return found
