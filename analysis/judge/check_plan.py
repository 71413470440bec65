"""Whether an experiment's runs are those of its plan, and none is a copy of another or overlaps it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime

from analysis.judge.check_open import is_open, open_plan_doubts
from analysis.judge.doubts import LONGEST_QUOTE, Doubt
from analysis.read.results import Deployment, Results
from analysis.read.runs import Run
from runfiles.events import BUDGET, INCOMPLETE, NOT_RUN, STATUS_MEASURED, TURNS
from runfiles.records import PlanRecord

START_SLACK_S = 60.0
LONGEST_WAIT_S = 24 * 3600
"""The first run of an experiment begins at most this long after the experiment."""
MIB = 2**20


def plan_doubts(results: Results) -> list[Doubt]:
    """Whether the loads were those of the plan, and the record has all deployments of the plan."""
    plan = results.experiment.plan
    names = {deployment.name for deployment in results.deployments}
    lost = [name for name in plan.deployments if name not in names]
    found = [Doubt(f"{name} is in the plan and not in the record", INCOMPLETE) for name in lost]
    if results.experiment.ended_at is None:
        found.append(Doubt("The experiment was cut off: its record has no end.", is_of_a_lack=True))
    found += _of_budget(results)
    asked = {
        "users": None if is_open(plan) else plan.users,
        "seed": plan.seed,
        "end_after_requests": plan.requests,
    }
    for deployment in results.deployments:
        found += _of_plan_of(deployment, plan) + _of_layout(deployment, plan)
        if (
            deployment.status == STATUS_MEASURED
            and plan.rounds is not None
            and len(deployment.measured_rounds) != plan.rounds
        ):
            not_run = next((round_ for round_ in deployment.rounds if round_.status == NOT_RUN), None)
            planned = "1 round was" if plan.rounds == 1 else f"{plan.rounds} rounds were"
            text = f"{deployment.title}: {len(deployment.measured_rounds)} of {planned} measured"
            text += f": {not_run.reason or 'no reason was given'}" if not_run else ""
            found.append(Doubt(text, is_of_a_lack=True))
        for number, run in deployment.loads.items():
            found += _of_length(deployment, number, run, plan)
            for key, wanted in (asked | _asked_times(plan, run)).items():
                had = getattr(run.record if key != "block_s" else run.record.blocks, key)
                if wanted is not None and had is not None and had != wanted:
                    text = f"{deployment.title}, round {number}: {key} was {had:g}, the plan says {wanted:g}"
                    found.append(Doubt(text, "circumstances", (deployment.name,)))
    return found


def _of_budget(results: Results) -> list[Doubt]:
    """Whether the rounds ended before all pairs were as precise as the plan asks. A staircase has no such ratio."""
    plan = results.experiment.plan
    if results.experiment.stopped_by != BUDGET or results.is_staircase:
        return []
    text = "The rounds ended because the time was up"
    text += f" ({plan.budget_minutes:g} minutes)" if plan.budget_minutes is not None else ""
    text += ", before the ratio of the medians of every pair was known"
    text += f" to within {plan.precision:g}%." if plan.precision is not None else "."
    return [Doubt(text, is_of_a_lack=True)]


def _asked_times(plan: PlanRecord, run: Run) -> dict[str, float | None]:
    """How long the load, or one of its blocks, should last, as the plan says."""
    blocks = run.record.blocks
    if blocks is None:
        both = None if plan.seconds is None else plan.warm_up_s + plan.seconds
        return {"warm_up_s": plan.warm_up_s, "run_time_s": both}
    return {"block_s": plan.block_s}


def _of_length(deployment: Deployment, number: int, run: Run, plan: PlanRecord) -> list[Doubt]:
    """Whether a load in blocks had as many as the plan's seconds make, give or take one."""
    blocks = run.record.blocks
    if blocks is None:
        return []
    found = []
    measured_s = blocks.planned * blocks.block_s
    lengths = (("warm-up", run.record.warm_up_s, plan.warm_up_s), ("load", measured_s, plan.seconds))
    for name, had, wanted in lengths:
        if wanted is not None and had < wanted - blocks.block_s:
            text = f"{deployment.title}, round {number}: the {name} was {had:g} s, the plan says {wanted:g} s"
            found.append(Doubt(text, "circumstances", (deployment.name,)))
    return found


def _of_layout(deployment: Deployment, plan: PlanRecord) -> list[Doubt]:
    """Whether the load came in blocks if the plan says so, and side by side with those that the record names."""
    found = []
    for round_ in deployment.measured_rounds:
        for group, run in round_.loads_by_group.items():
            where = f"{deployment.title}, round {round_.number}"
            blocks = run.record.blocks
            if (blocks is None) != (group is None):
                was, says = ("one piece", "blocks") if blocks is None else ("blocks", "one piece")
                text = f"{where}: the load came in {was}, the record of the experiment says in {says}"
                found.append(Doubt(text, "contradiction", (deployment.name,)))
            elif blocks is not None and (blocks.group, blocks.deployment) != (group, deployment.name):
                text = f"{where}: the load is that of {blocks.deployment[:LONGEST_QUOTE]} in group {blocks.group}"
                found.append(Doubt(text, "contradiction", (deployment.name,)))
            elif blocks is not None and plan.layout == TURNS:
                text = f"{where}: the load came in blocks, the plan says one deployment after another"
                found.append(Doubt(text, "circumstances", (deployment.name,)))
    return found


def _of_plan_of(deployment: Deployment, plan: PlanRecord) -> list[Doubt]:
    """Whether the users or the rate of a deployment's loads, how often they reconnected, and the limits of its
    containers, were those of the plan."""
    user_class = f"{plan.user_class.title().replace('_', '')}User"
    found = open_plan_doubts(deployment, plan)
    for number, run in deployment.loads.items():
        if run.record.reconnect_every != plan.reconnect_every:
            had, says = run.record.reconnect_every or "none", plan.reconnect_every or "none"
            text = f"{deployment.title}, round {number}: reconnect_every was {had}, the plan says {says}"
            found.append(Doubt(text, "circumstances", (deployment.name,)))
        if not is_open(plan) and run.record.user_class != user_class:
            text = f"{deployment.title}, round {number}: the users were {run.record.user_class[:LONGEST_QUOTE]}, "
            found.append(
                Doubt(f"{text}the plan says {user_class[:LONGEST_QUOTE]}", "circumstances", (deployment.name,))
            )
    limits = {"cpus": plan.cpus, "memory_bytes": None if plan.memory_mb is None else plan.memory_mb * MIB}
    for round_ in () if deployment.is_host else deployment.measured_rounds:
        for key, wanted in limits.items():
            had = getattr(round_.limits, key)
            if wanted is not None and had is not None and had != wanted:
                text = f"{deployment.title}, round {round_.number}: the limit of {key} was {had:,.15g}, "
                found.append(Doubt(f"{text}the plan says {wanted:,.15g}", "circumstances", (deployment.name,)))
    return found


def time_doubts(results: Results) -> list[Doubt]:
    """Whether two runs overlap in time: then they disturbed each other, or one is a copy."""
    spans = [
        _Span(
            run.record.started_at_unix_s,
            run.record.ended_at_unix_s or run.as_recorded.window_unix_s[1],
            deployment,
            round_.number,
            None if run.record.blocks is None else run.record.blocks.group,
        )
        for deployment in results.deployments
        for round_ in deployment.rounds
        for run in round_.runs
    ]
    found = _of_copies(results) + _of_blocks_at_once(results)
    began_s = datetime.fromisoformat(results.experiment.started_at).timestamp()
    if spans and not began_s - START_SLACK_S <= min(span.began for span in spans) <= began_s + LONGEST_WAIT_S:
        names = tuple(deployment.name for deployment in results.deployments)
        found.append(
            Doubt(
                "The runs did not begin when the experiment did, so they belong to another experiment", "clock", names
            )
        )
    last: _Span | None = None
    for span in sorted(spans, key=lambda span: (span.began, span.ended)):
        if last is not None and span.began < last.ended and not span.is_beside(last):
            both = f"{last.deployment.title}, round {last.number}, and {span.deployment.title}, round {span.number},"
            text = f"{both} have runs at the same time: one is a copy of the other, or they disturbed each other"
            found.append(Doubt(text, "twice", (last.deployment.name, span.deployment.name)))
        if last is None or span.ended > last.ended:
            last = span
    return found


@dataclass(frozen=True)
class _Span:
    """When a run began and ended (Unix time, s), whose it was, and the group that shared a load in blocks."""

    began: float
    ended: float
    deployment: Deployment
    number: int
    group: int | None

    def is_beside(self, other: _Span) -> bool:
        """Whether both had their blocks of the same load, as they should."""
        is_same_load = self.group is not None and (self.number, self.group) == (other.number, other.group)
        return is_same_load and self.deployment is not other.deployment


def _of_blocks_at_once(results: Results) -> list[Doubt]:
    """Whether two deployments of a group were measured at the same moment."""
    found = []
    for (number, _), members in results.side_by_side.items():
        parts = [
            (float(begins), float(ends), deployment)
            for deployment, run in members
            if run.axis is not None
            for begins, ends in zip(run.axis.from_unix_s, run.axis.to_unix_s, strict=True)
        ]
        in_order = sorted(parts, key=lambda part: part[:2])
        for (_, ended, first), (began, _, second) in itertools.pairwise(in_order):
            if began < ended and first is not second:
                text = f"{first.title} and {second.title}, round {number}, have blocks at the same time"
                found.append(Doubt(text, "twice", (first.name, second.name)))
    return list(dict.fromkeys(found))


def _of_copies(results: Results) -> list[Doubt]:
    """Whether two runs have the same response times to the nanosecond: then one is a copy, whatever its times are."""
    found = []
    known: dict[bytes, tuple[Deployment, int]] = {}
    for deployment in results.deployments:
        for number, run in [(each.number, run) for each in deployment.measured_rounds for run in each.runs]:
            if run.as_recorded.fingerprint is None:
                continue
            first, first_number = known.setdefault(run.as_recorded.fingerprint, (deployment, number))
            if (first.name, first_number) != (deployment.name, number):
                both = f"{first.title}, round {first_number}, and {deployment.title}, round {number},"
                text = f"{both} have the same response times: one is a copy of the other"
                found.append(Doubt(text, "copy", (first.name, deployment.name)))
    return found
