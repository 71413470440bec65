"""Whether an open workload was what it should be: the load generator kept the rate, and the service answered it."""

from __future__ import annotations

from analysis.judge.doubts import Doubt, Reasons
from analysis.measure.steps import GENERATOR_LIMIT, LOST_LIMIT, NOT_KEPT, expected_due, lacking, round_steps
from analysis.read.results import Deployment
from analysis.read.runs import Run
from runfiles.events import KEPT, LATE_MS, NEW
from runfiles.records import OpenWorkload, PlanRecord

MORE_GENERATOR = "give the load generator more processes (--set processes=2) or more cores, or use a lower rate"
OVERLOAD = "overload"
"""The kind of the reason that the service did not answer too many requests."""
KEPT_CLASS = "keep_alive"
"""The user class of a plan whose connections are kept."""


def open_doubts(run: Run, *, has_several_rates: bool) -> Reasons:
    """What speaks against a load at a rate; nothing if it had users, each of which waits for its answer.

    In a staircase a rate that was not kept says nothing against the lower ones, and one that was not answered is what
    it is there to find: only the lowest must have been kept.
    """
    if run.record.open is None:
        return []
    if has_several_rates:
        first = next(iter(round_steps(run)), None)
        if first is None or first.state != NOT_KEPT:
            return []
        where = f"{first.rate_per_s:g} requests/s, the lowest rate: "
        return [(f"{where}{_not_kept(first.late, first.dropped, first.due)}", "rate")]
    return _of_one_rate(run, run.record.open)


def _of_one_rate(run: Run, counts: OpenWorkload) -> Reasons:
    lost = counts.over_bound + counts.unanswered
    due = len(run.measured_requests) + counts.dropped + lost
    missing = lacking(expected_due(run), due)
    dropped, due = counts.dropped + missing, due + missing
    found: Reasons = []
    if counts.late + dropped > GENERATOR_LIMIT * due:
        found.append((_not_kept(counts.late, dropped, due), "rate"))
    if lost > LOST_LIMIT * due:
        text = (
            f"the service could not keep up with the rate: {lost:,} of {due:,} requests ({lost / due:.1%}) were left "
            "without an answer, or not sent because too many others waited for theirs. So the percentiles lack the "
            "slowest requests; use a lower rate, or measure several rates (--set rates=[20,40,80])"
        )
        found.append((text, OVERLOAD))
    return found


def _not_kept(late: int, dropped: int, due: int) -> str:
    return (
        f"the load generator could not keep the rate: of {due:,} requests it sent {late / due:.1%} more than "
        f"{LATE_MS:g} ms too late, and {dropped / due:.1%} not at all. So response times contain its own delay, and "
        f"the load was lighter than the plan says; {MORE_GENERATOR}"
    )


def is_open(plan: PlanRecord) -> bool:
    """Whether requests are due at a rate, or at several; else users wait for their answers."""
    return plan.rate is not None or bool(plan.rates) or plan.capacity is not None


def open_plan_doubts(deployment: Deployment, plan: PlanRecord) -> list[Doubt]:
    """Whether rates, arrivals and connections of a deployment's loads were those of the plan."""
    found = []
    for number, run in deployment.loads.items():
        where = f"{deployment.title}, round {number}"
        told = run.record.open
        if (told is None) == is_open(plan):
            was, says = ("users", "a rate") if told is None else ("a rate", "users")
            found.append(f"{where}: the load was made by {was}, the plan says by {says}")
        elif told is not None:
            connection = KEPT if plan.user_class == KEPT_CLASS else NEW
            compared = (("arrivals", told.arrivals, plan.arrivals), ("connection", told.connection, connection))
            found += [f"{where}: {what} was {had}, the plan says {says}" for what, had, says in compared if had != says]
            planned = plan.rates or ((plan.rate,) if plan.rate is not None else run.rates_per_s)
            if run.rates_per_s != planned[: len(run.rates_per_s)]:
                had, says = (", ".join(f"{rate:g}" for rate in rates) for rates in (run.rates_per_s, planned))
                found.append(f"{where}: the rate was {had} requests/s, the plan says {says}")
    return [Doubt(text, "circumstances", (deployment.name,)) for text in found]
