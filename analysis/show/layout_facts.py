"""How the load was laid out, in words: in turns or in blocks, in which groups, and why there was no further round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.verdicts import Verdict
from analysis.measure.quantity import QUANTITIES
from analysis.measure.rounds import Measurement
from analysis.show.elements import Fact
from runfiles.deployments import title_of
from runfiles.events import BUDGET, PRECISE
from runfiles.records import Blocks, ExperimentRecord, PlanRecord

IN_TURNS = "in turns: the deployments of a round ran one after another, and each was started for its turn"


def layout_facts(analysis: Analysis) -> Iterator[Fact]:
    """How the load came to the deployments, and what is known of its blocks, its rounds and the load generator."""
    experiment = analysis.results.experiment
    at_rates = ", each cycle at the next rate until it was overloaded" if analysis.staircases else ""
    is_alone = was_alone(experiment)
    layout = _searched(is_alone=is_alone) if analysis.searches else _layout(analysis.loads, is_alone=is_alone)
    yield Fact("Layout", layout + at_rates)
    if len(experiment.groups) > 1:
        yield Fact("Groups", _groups(experiment))
    if words.is_in_blocks(analysis.loads):
        yield Fact("Disturbed blocks", _disturbed_steps(analysis) if analysis.searches else _disturbed(analysis.loads))
        yield Fact("CPU while waiting", _waiting(analysis.loads))
    yield Fact("Rounds", _rounds(analysis))
    if pairs := _precision(analysis.verdicts):
        yield Fact("Precision", pairs)
    if experiment.blank is not None:
        yield Fact("Blank", words.blank(analysis.blank))


def blocks_of_load(load: Measurement) -> list[Blocks]:
    """The record of the blocks of each load of a deployment."""
    runs = (run for each in load.deployment.measured_rounds for run in each.loads_by_group.values())
    return [run.record.blocks for run in runs if run.record.blocks is not None]


def was_alone(experiment: ExperimentRecord) -> bool:
    """Whether only one deployment ran, so that none ran beside it."""
    return sum(map(len, experiment.groups)) == 1


def _layout(loads: Sequence[Measurement], *, is_alone: bool) -> str:
    if not words.is_in_blocks(loads):
        return IN_TURNS
    blocks = next(blocks for load in loads for blocks in blocks_of_load(load))
    visits = "the deployments of a group ran at once, and the load visited them in random order, each once in a cycle"
    return (
        f"in blocks: {'the load visited the one deployment again and again' if is_alone else visits}. "
        f"A visit is a block: {blocks.settle_s:g} s in which the load settles, then {blocks.block_s:g} s that "
        f"count. The plan of a round had {blocks.planned:,} such blocks for each deployment"
    )


def _searched(*, is_alone: bool) -> str:
    if is_alone:
        return "step by step: after each step of the search came the next one"
    return (
        "step by step: the deployments of a group ran at once, and the load visited them in random order, each with a "
        "step of its own search"
    )


def _groups(experiment: ExperimentRecord) -> str:
    said = "; ".join(
        f"group {number}: {', '.join(map(title_of, names))}" for number, names in enumerate(experiment.groups, 1)
    )
    return f"{said}. They are several because {experiment.groups_reason}" if experiment.groups_reason else said


def _disturbed(loads: Sequence[Measurement]) -> str:
    """How many blocks were repeated, and how many count although they were disturbed."""
    found = {load.title: blocks_of_load(load) for load in loads}
    repeated = {title: sum(blocks.repeated for blocks in own) for title, own in found.items()}
    kept = {title: sum(blocks.disturbed for blocks in own) for title, own in found.items()}
    if not any(repeated.values()) and not any(kept.values()):
        return "none: other programs and the hypervisor left the CPU to the service and the load generator"
    planned = sum(blocks.planned for own in found.values() for blocks in own)
    said = "In these blocks other programs or the hypervisor took much of the CPU. "
    said += f"Repeated: {_counts(repeated)} ({planned:,} blocks were planned). "
    if not any(kept.values()):
        return f"{said}No disturbed block is in a figure."
    return f"{said}Not repeated, and in the figures, because as many as allowed had been repeated: {_counts(kept)}."


def _disturbed_steps(analysis: Analysis) -> str:
    """In how many steps of the searches other programs took CPU."""
    steps = sum(len(search.steps) for search in analysis.searches)
    kept = {load.title: sum(blocks.disturbed for blocks in blocks_of_load(load)) for load in analysis.loads}
    said = "steps in which other programs or the hypervisor took much of the CPU"
    return f"{said}: {_counts(kept)} (there were {steps:,}). They are in the figures, as a search repeats no step"


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{title} {number:,}" for title, number in numbers.items() if number) or "none"


def _waiting(loads: Sequence[Measurement]) -> str:
    """What the deployments used while they waited, which is no part of any figure."""
    quantity = QUANTITIES["idle_cpu_percent"]
    used = (load.summary[quantity.key] for load in loads)
    said = "; ".join(
        f"{load.title} {words.number(estimate, quantity.digits)}{quantity.unit}"
        if estimate.is_measured
        else f"{load.title} {words.why_missing(estimate)}"
        for load, estimate in zip(loads, used, strict=True)
    )
    return f"while the load was elsewhere, a deployment used, in % of one core: {said}"


def _rounds(analysis: Analysis) -> str:
    """How many rounds there were, and why no more."""
    experiment = analysis.results.experiment
    plan = experiment.plan
    said = words.rounds(analysis.loads, plan.rounds)
    if plan.rounds is not None:
        return f"{said}; the plan asked for {plan.rounds}"
    if experiment.stopped_by == PRECISE:
        return f"{said}; then all pairs were as precise as the plan asked for: {_asked(plan)}"
    is_up = experiment.stopped_by == BUDGET
    ended = f"then the time was up: {plan.budget_minutes:g} minutes" if is_up else "the experiment was cut off"
    return f"{said}; {ended}" + ("" if analysis.staircases else f". The plan asked for {_asked(plan)}")


def _asked(plan: PlanRecord) -> str:
    return f"\N{PLUS-MINUS SIGN}{plan.precision:g}% or better" if plan.precision is not None else "no precision"


def _precision(verdicts: Sequence[Verdict]) -> str:
    """Half the width of the interval of the median's ratio, for each pair that has one."""
    said = [
        f"{words.pair(verdict)} \N{PLUS-MINUS SIGN}{verdict.comparison.half_width_percent:.1f}%"
        for verdict in verdicts
        if verdict.key == "median_ms" and verdict.shows_ratio and verdict.comparison.has_interval
    ]
    return f"half the width of the 95% interval of a pair's ratio of medians: {'; '.join(said)}" if said else ""
