"""Whether an open workload was what it should be: the load generator kept the rate, the service answered it, and other
programs left them the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.judge.doubts import Doubt
from analysis.measure.others import CLOSE_OTHERS, Others, others_of
from analysis.measure.searches import Search
from analysis.measure.steps import ANSWERED, OVERLOADED, expected_due, lacking, round_steps
from analysis.read.results import Deployment
from analysis.read.runs import Run
from runfiles.events import KEPT, LATE_MS, MEASURED, NEW, SPIKE
from runfiles.rates import GENERATOR_LIMIT, LOST_LIMIT
from runfiles.records import OpenWorkload, PlanRecord
from runfiles.spikes import Spike

MORE_GENERATOR = (
    "give the load generator more processes (--set processes=2, on a cluster --set workers=2) or more cores, or use a "
    "lower rate"
)
OVERLOAD = "overload"
"""The kind of the reason that the service did not answer too many requests."""
KEPT_CLASS = "keep_alive"
"""The user class of a plan whose connections are kept."""


@dataclass(frozen=True)
class Shortfall:
    """What was lacking in one round: ``share`` of the requests due, as a part of 1. ``text``, ``kind``: of a doubt."""

    share: float
    text: str
    kind: str


def open_doubts(runs: Mapping[int, Run], *, has_several_rates: bool) -> list[tuple[list[int], str, str]]:
    """What speaks against the loads at a rate of a deployment, by their rounds: the rounds, the text of the worst of
    them, and its kind. Nothing speaks against users, each of which waits for its answer.

    In a staircase a rate that was not kept says nothing of the deployment, and one that was not answered is what it is
    there to find. So it is enough that the load generator kept a rate that was answered, or the lowest.
    """
    found: dict[str, dict[int, Shortfall]] = {}
    for number, run in runs.items():
        if run.record.open is not None:
            each = _of_staircase(run) if has_several_rates else _of_one_rate(run, run.record.open)
            for shortfall in each:
                found.setdefault(shortfall.kind, {})[number] = shortfall
    doubts = []
    for kind, rounds in found.items():
        worst = max(rounds, key=lambda number: rounds[number].share)
        where = f"the worst was round {worst}: " if len(rounds) > 1 else ""
        doubts.append(([*rounds], f"{where}{rounds[worst].text}", kind))
    return doubts


def remedy(others: Others) -> str:
    """What helps a load generator that was late. ``others``: in the blocks in which it was."""
    if others.took_most:
        return f"{others.said()}, so {CLOSE_OTHERS}"
    return MORE_GENERATOR


def search_doubts(searches: Sequence[Search]) -> list[Doubt]:
    """The searches whose limit may be the doing of other programs: they took the CPU in most of the steps near it."""
    return [
        Doubt(f"{search.title}: {search.disturbance}", "disturbed", (search.name,))
        for search in searches
        if search.disturbance
    ]


def _of_staircase(run: Run) -> list[Shortfall]:
    steps = round_steps(run)
    states = [step.state for step in steps]
    below = states[: states.index(OVERLOADED)] if OVERLOADED in states else states
    if ANSWERED in below or not below:
        return []
    first = steps[0]
    text = _not_kept(first.late, first.dropped, first.due, others_of([first.others_percent]))
    return [Shortfall(first.behind / first.due, f"{first.rate_per_s:g} requests/s, the lowest rate: {text}", "rate")]


def _of_one_rate(run: Run, counts: OpenWorkload) -> list[Shortfall]:
    lost = counts.over_bound + counts.unanswered
    due = len(run.measured_requests) + counts.dropped + lost
    missing = lacking(expected_due(run), due)
    dropped, due = counts.dropped + missing, due + missing
    found = []
    if counts.late + dropped > GENERATOR_LIMIT * due:
        text = _not_kept(counts.late, dropped, due, _others(run))
        found.append(Shortfall((counts.late + dropped) / due, text, "rate"))
    if lost > LOST_LIMIT * due:
        text = (
            f"the service could not keep up with the rate: {lost:,} of {due:,} requests ({lost / due:.1%}) were left "
            "without an answer, or not sent because too many others waited for theirs. So the percentiles lack the "
            "slowest requests; use a lower rate, or measure several rates (--set rates=[20,40,80])"
        )
        found.append(Shortfall(lost / due, text, OVERLOAD))
    return found


def _others(run: Run) -> Others:
    """What other programs took in the measured blocks of a load; nothing is known of one in one piece."""
    blocks = run.as_recorded.blocks
    return others_of(blocks["others_cpu_percent"][(blocks["phase"] == MEASURED).to_numpy()])


def _not_kept(late: int, dropped: int, due: int, others: Others) -> str:
    sent_late = f"of {due:,} requests {late / due:.1%} were sent more than {LATE_MS:g} ms late"
    if not dropped:
        return f"{sent_late}. Response times count from when a request was due, so they contain that; {remedy(others)}"
    return (
        f"{sent_late}, and {dropped / due:.1%} not at all. So response times contain the load generator's own delay, "
        f"and the load was lighter than the plan says; {remedy(others)}"
    )


def is_open(plan: PlanRecord) -> bool:
    """Whether requests are due at a rate, or at several; else users wait for their answers."""
    return plan.rate is not None or bool(plan.rates) or plan.capacity is not None


def planned_spikes(plan: PlanRecord) -> list[Spike]:
    """The spikes of a plan, in the order of time."""
    return [Spike(each.at_s, each.times or 1.0, each.seconds or 0.0) for each in plan.changes if each.action == SPIKE]


def open_plan_doubts(deployment: Deployment, plan: PlanRecord) -> list[Doubt]:
    """Whether rates, spikes, arrivals and connections of a deployment's loads were those of the plan."""
    found = []
    for number, run in deployment.loads.items():
        where = f"{deployment.title}, round {number}"
        told = run.record.open
        if (told is None) == is_open(plan):
            was, says = ("users", "a rate") if told is None else ("a rate", "users")
            found.append(f"{where}: the load was made by {was}, the plan says by {says}")
        elif told is not None:
            connection = KEPT if plan.user_class == KEPT_CLASS else NEW
            compared = (
                ("arrivals", told.arrivals, plan.arrivals),
                ("connection", told.connection, connection),
                ("spikes", ", ".join(told.spikes) or "none", ", ".join(map(str, planned_spikes(plan))) or "none"),
            )
            found += [f"{where}: {what} was {had}, the plan says {says}" for what, had, says in compared if had != says]
            planned = plan.rates or ((plan.rate,) if plan.rate is not None else run.rates_per_s)
            if run.rates_per_s != planned[: len(run.rates_per_s)]:
                had, says = (", ".join(f"{rate:g}" for rate in rates) for rates in (run.rates_per_s, planned))
                found.append(f"{where}: the rate was {had} requests/s, the plan says {says}")
    return [Doubt(text, "circumstances", (deployment.name,)) for text in found]
