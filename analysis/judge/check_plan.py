"""Whether an experiment's runs are those of its plan, and none is a copy of another or overlaps it."""

from __future__ import annotations

from datetime import datetime

from analysis.judge.doubts import LONGEST_QUOTE, Doubt
from analysis.read.results import Deployment, Results
from runfiles.events import INCOMPLETE, NOT_RUN, STATUS_MEASURED
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
    asked = {
        "users": plan.users,
        "warm_up_s": plan.warm_up_s,
        "run_time_s": None if plan.seconds is None else plan.warm_up_s + plan.seconds,
        "seed": plan.seed,
        "end_after_requests": plan.requests,
    }
    for deployment in results.deployments:
        found += _of_plan_of(deployment, plan)
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
            for key, wanted in asked.items():
                had = getattr(run.record, key)
                if wanted is not None and had is not None and had != wanted:
                    text = f"{deployment.title}, round {number}: {key} was {had:g}, the plan says {wanted:g}"
                    found.append(Doubt(text, "circumstances", (deployment.name,)))
    return found


def _of_plan_of(deployment: Deployment, plan: PlanRecord) -> list[Doubt]:
    """Whether the users of a deployment's loads, and the limits of its containers, were those of the plan."""
    found = []
    user_class = f"{plan.user_class.title().replace('_', '')}User"
    for number, run in deployment.loads.items():
        if run.record.user_class != user_class:
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
        (
            run.record.started_at_unix_s,
            run.record.ended_at_unix_s or run.window_unix_s[1],
            deployment,
            round_.number,
        )
        for deployment in results.deployments
        for round_ in deployment.rounds
        for run in (round_.single_pass, round_.load)
        if run is not None
    ]
    found = _of_copies(results)
    began_s = datetime.fromisoformat(results.experiment.started_at).timestamp()
    if spans and not began_s - START_SLACK_S <= min(span[0] for span in spans) <= began_s + LONGEST_WAIT_S:
        names = tuple(deployment.name for deployment in results.deployments)
        found.append(
            Doubt(
                "The runs did not begin when the experiment did, so they belong to another experiment", "clock", names
            )
        )
    last: tuple[float, Deployment, int] | None = None
    for began, ended, deployment, number in sorted(spans, key=lambda span: span[:2]):
        if last is not None and began < last[0]:
            both = f"{last[1].title}, round {last[2]}, and {deployment.title}, round {number},"
            text = f"{both} have runs at the same time: one is a copy of the other, or they disturbed each other"
            found.append(Doubt(text, "twice", (last[1].name, deployment.name)))
        if last is None or ended > last[0]:
            last = (ended, deployment, number)
    return found


def _of_copies(results: Results) -> list[Doubt]:
    """Whether two runs have the same response times to the nanosecond: then one is a copy, whatever its times are."""
    found = []
    known: dict[bytes, tuple[Deployment, int]] = {}
    for deployment in results.deployments:
        for number, run in [*deployment.single_passes.items(), *deployment.loads.items()]:
            if run.fingerprint is None:
                continue
            first, first_number = known.setdefault(run.fingerprint, (deployment, number))
            if (first.name, first_number) != (deployment.name, number):
                both = f"{first.title}, round {first_number}, and {deployment.title}, round {number},"
                text = f"{both} have the same response times: one is a copy of the other"
                found.append(Doubt(text, "copy", (first.name, deployment.name)))
    return found
