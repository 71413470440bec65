"""Estimates, ratios and verdicts as people read them: shared by the page, Markdown and the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from analysis.judge.verdicts import NAMES, NONE, PROVEN, Verdict
from analysis.measure.effects import Effect
from analysis.measure.parts import Blank
from analysis.measure.quantity import PARTS_OF_TIME, QUANTITIES, REVERSE_PROXY, Estimate, Quantity
from analysis.measure.recovery import TIMES
from analysis.measure.rounds import MIXED, Measurement
from analysis.measure.searches import Search
from analysis.measure.steps import NOT_KEPT, RoundStep, Staircase, Step
from analysis.read.results import Deployment
from runfiles.events import CUT_OFF, FAILED, INTERRUPTED

PART = "of the part that samples cover"
TWO_ROUNDS = "no interval from two rounds"
ROUND_BY_ROUND = "round by round"
HOW_ROUND_BY_ROUND = (
    "The milliseconds are means of the rounds. A ratio is computed round by round, and then the mean is taken; so it "
    "need not be the quotient of two of these means."
)
"""What stands before a ratio beside the times of two deployments, and how that is read."""
TICKS = "fewer than 10 ticks of the CPU clock (10 ms each)"
MOST_DIGITS = 3
MEMORY_MARK = " *"
MEMORY_FOOTNOTE = "* The memory of the host process and of containers is counted differently: do not compare them."
"""Below a table with the memory of both."""
COUNTED_APART = ("memory_mean_mb", "memory_max_mb", "memory_mb_s_per_1000")
"""The quantities that are counted differently for the host process. The others of memory it does not have."""
COUNTS = ("due", "answered", "failed", "late", "dropped", "over_bound", "unanswered", "growth")
"""What is counted at each rate of a staircase (``analysis.measure.steps.RoundStep``)."""
FIRST_OF_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rounds(loads: Sequence[Measurement], planned: int | None) -> str:
    """How many rounds were measured and, where that is fewer than planned, how many were planned (None: no number)."""
    found = max((len(load.rounds) for load in loads), default=0)
    is_short = planned is not None and found < planned
    of = f"{found} of {planned:g}" if is_short else f"{found}"
    return f"{of} round{'s' if max(found, planned or 0) != 1 else ''}"


def number(estimate: Estimate, digits: int) -> str:
    """An estimate's value, or that it is not measured, or not shown. A value below 1 gets at least two digits that are
    not 0."""
    if not estimate.is_measured:
        return "not shown" if estimate.is_withheld else "not measured"
    if estimate.value < estimate.least:
        scale = 10**digits
        return f"< {math.ceil(estimate.least * scale) / scale:,.{digits}f}"
    return f"{estimate.value:,.{_digits(estimate, digits)}f}"


def _digits(estimate: Estimate, digits: int) -> int:
    """How many digits are shown behind the point: one more where the value would lose its second one."""
    is_small = 0 < abs(estimate.value) < 10 ** (1 - digits)
    return digits + 1 if is_small and 0 < digits < MOST_DIGITS else digits


def plain(measurement: Measurement, key: str) -> str:
    """A quantity of a deployment without its unit."""
    return number(measurement.summary[key], QUANTITIES[key].digits)


def why_missing(estimate: Estimate) -> str:
    """``not measured: the reason``, or ``not shown``."""
    said = number(estimate, 0)
    return f"{said}: {estimate.missing}" if estimate.missing else said


def interval(estimate: Estimate, digits: int, rounds: int) -> str:
    """What is written below an estimate: its interval, or why there is none, and n. ``rounds``: how many were measured;
    it is said where the estimate comes from fewer."""
    if not estimate.is_measured:
        return estimate.missing or ""
    n = f"n = {estimate.n:,}"
    if estimate.rounds < rounds:
        n += f", {estimate.rounds} of {rounds} rounds"
    n += f", {PART}" if estimate.is_part else ""
    bounds = low_to_high(estimate, digits)
    return f"{bounds}\n{n}" if bounds else n


def low_to_high(estimate: Estimate, digits: int) -> str:
    """The interval, or why it is not shown; nothing for a count or one round, which have none."""
    if estimate.value < estimate.least:
        return TICKS
    if estimate.has_interval:
        digits = _digits(estimate, digits)
        return f"{estimate.low:,.{digits}f} to {estimate.high:,.{digits}f}"
    return "" if math.isnan(estimate.high) else TWO_ROUNDS


def what_n_counts(estimates: Sequence[Estimate]) -> str:
    """What n counts in a row of estimates; nothing where none was measured."""
    counted = dict.fromkeys(
        f"{estimate.of} {estimate.which}".rstrip() for estimate in estimates if estimate.is_measured
    )
    return f"n: {'; '.join(counted)}" if counted else ""


def named(load: Measurement | Search) -> str:
    """A deployment within a sentence."""
    return "the host process" if load.deployment.is_host else load.title


def first_letter(text: str) -> str:
    """The beginning of a sentence; ``docker run`` is a command and keeps its small letter."""
    return f"The {text.removeprefix('the ')}" if text.startswith("the ") else text


def listed(names: Sequence[str]) -> str:
    """``A, B and C``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def pair(found: Verdict) -> str:
    """What is compared with what."""
    return f"{found.subject.title} against {found.baseline.title}"


def ratio(found: Verdict) -> str:
    """A ratio with its interval, or why that is not shown; nothing where there is no ratio that may be read."""
    comparison = found.comparison
    if not found.shows_ratio or math.isnan(comparison.ratio):
        return ""
    if comparison.has_interval:
        return f"{comparison.ratio:.2f} ({comparison.low:.2f} to {comparison.high:.2f})"
    return f"{comparison.ratio:.2f}" + ("" if math.isnan(comparison.low) else f" ({TWO_ROUNDS})")


def p_value(value: float) -> str:
    """A p-value to three digits; a smaller one is not called 0."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def verdict(found: Verdict) -> str:
    """A verdict in a few words: with how many rounds would be enough, or why there is none."""
    if found.kind in PROVEN:
        return found.kind
    if found.unlike is not None:
        return found.detail
    return f"{found.kind}: {found.detail}" if found.kind == NONE else f"{found.kind}; {found.detail}"


def time_of_day(stamp: str) -> str:
    """A time of the record (ISO 8601, UTC) as people write it."""
    return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def rows_of(measurements: Sequence[Measurement]) -> list[Quantity]:
    """The quantities that at least one of the deployments was asked for, in the order in which they are shown; without
    those that a staircase has at each rate only."""
    return [
        quantity
        for key, quantity in QUANTITIES.items()
        if any(key in measurement.summary for measurement in measurements)
        and (key != REVERSE_PROXY or has_reverse_proxy(measurements))
        and not all(key in each.summary and each.summary[key].missing in MIXED for each in measurements)
    ]


def has_reverse_proxy(measurements: Sequence[Measurement]) -> bool:
    """Whether a deployment has a reverse proxy, or the CPU of one was measured on its machine."""
    return any(
        each.deployment.is_proxied or (REVERSE_PROXY in each.summary and each.summary[REVERSE_PROXY].is_measured)
        for each in measurements
    )


def is_memory_mixed(measured: Sequence[Measurement]) -> bool:
    """Whether there is memory of both a host process and containers: it is counted differently."""
    shown = [each for each in measured if each.summary[COUNTED_APART[0]].missing not in MIXED]
    return len({measurement.deployment.is_host for measurement in shown}) > 1


def status(deployment: Deployment) -> str:
    """What became of a deployment. One that failed only because somebody ended the experiment was interrupted."""
    return INTERRUPTED if (deployment.status, deployment.reason) == (FAILED, CUT_OFF) else deployment.status


def is_in_blocks(measured: Sequence[Measurement]) -> bool:
    """Whether the load came in blocks: the deployments ran at once, and it went to and fro between them."""
    runs = (run for measurement in measured for run in measurement.deployment.loads.values())
    return any(run.record.blocks is not None for run in runs)


def passes_of(measurement: Measurement) -> float:
    """How many times the texts were sent in a single pass, in the mean over its rounds: 1 where it was not repeated."""
    runs = measurement.deployment.single_passes.values()
    return sum(max(1, len(run.blocks)) for run in runs) / len(runs)


def passes(measured: Sequence[Measurement]) -> str:
    """That the single pass was repeated, and why; nothing where it was not."""
    most = max((passes_of(measurement) for measurement in measured), default=1)
    if most == 1:
        return ""
    return (
        f"The pass was repeated (up to {most:.0f} passes in a round), because samples of CPU and memory need some "
        "seconds."
    )


def is_client_told(measured: Sequence[Measurement]) -> bool:
    """Whether the parts of the response time are known, also the load generator's own: its blank was measured."""
    return any(all(measurement.summary[key].is_measured for key in PARTS_OF_TIME) for measurement in measured)


def blank(found: Blank) -> str:
    """The blank's response times, or why there is none."""
    if not found.median_ms.is_measured:
        return why_missing(found.median_ms)
    both = ((NAMES[key], estimate) for key, estimate in (("median_ms", found.median_ms), ("p95_ms", found.p95_ms)))
    times = ", ".join(f"{name} {number(estimate, QUANTITIES['median_ms'].digits)} ms" for name, estimate in both)
    return f"{times} (n = {found.median_ms.n:,} {found.median_ms.of})"


def row_title(quantity: Quantity, measured: Sequence[Measurement]) -> str:
    """A quantity with its unit, and a mark where its values are counted differently."""
    title = f"{quantity.title}, {quantity.unit}" if quantity.unit not in ("", "/s") else quantity.title
    if quantity.key == "part_network_ms" and not is_client_told(measured):
        title = title.replace(PARTS_OF_TIME[quantity.key], f"{PARTS_OF_TIME[quantity.key]}, load generator")
    is_marked = quantity.key in COUNTED_APART and is_memory_mixed(measured)
    return title + (MEMORY_MARK if is_marked else "")


def figures_csv(
    loads: Sequence[Measurement],
    passes: Sequence[Measurement],
    verdicts: Sequence[Verdict],
    staircases: Sequence[Staircase] = (),
    searches: Sequence[Search] = (),
    effects: Sequence[Effect] = (),
) -> str:
    """All estimates and ratios as CSV. What is missing is an empty field. No text is a formula to a spreadsheet."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    header = ("run", "round", "deployment", "figure", "unit", "value", "low", "high", "n", "of", "rounds", "note")
    writer.writerow(header)
    for run, measurements in (("load", loads), ("single pass", passes)):
        for measurement in measurements:
            writer.writerows(_csv_rows(run, measurement))
    for staircase in staircases:
        writer.writerows(_csv_steps(staircase))
    for search in searches:
        writer.writerows(_csv_search(search))
    for effect in effects:
        writer.writerows(_csv_change(effect))
    for found in verdicts:
        pair = no_formula(f"{found.subject.title} / {found.baseline.title}")
        values = [_cell(value) for value in (found.comparison.ratio, found.comparison.low, found.comparison.high)]
        note = no_formula(verdict(found))
        writer.writerow(["load", "all", pair, found.key, "ratio", *values, "", "", found.comparison.rounds, note])
    return file.getvalue()


def _csv_rows(run: str, measurement: Measurement) -> Iterator[list[object]]:
    """A row for each quantity over all rounds and, where there are several, for each round."""
    title = no_formula(measurement.title)
    for quantity in rows_of([measurement]):
        over_all = measurement.summary[quantity.key]
        values = [_cell(value) for value in (over_all.value, over_all.low, over_all.high)]
        tail = [over_all.n, over_all.of, over_all.rounds, _note(over_all)]
        yield [run, "all", title, quantity.key, quantity.unit, *values, *tail]
        for number_of_round, estimates in measurement.rounds.items() if len(measurement.rounds) > 1 else ():
            own = estimates.get(quantity.key)
            if own is not None:
                tail = [own.n, own.of, 1, _note(own)]
                yield [run, number_of_round, title, quantity.key, quantity.unit, _cell(own.value), "", "", *tail]


def _csv_steps(staircase: Staircase) -> Iterator[list[object]]:
    """The highest rate that was answered, and of each rate its percentiles, its throughput, and what became of the
    requests that were due, over all rounds and in each."""
    title = no_formula(staircase.title)
    rounds = len(staircase.knees_per_s)
    knee, agreeing = _cell(staircase.knee_per_s), f"{staircase.agreeing} of {rounds} rounds agree"
    yield ["load", "all", title, "highest_rate_answered", "/s", knee, "", "", rounds, "rounds", rounds, agreeing]
    for number_of_round, own in staircase.knees_per_s.items():
        yield ["load", number_of_round, title, "highest_rate_answered", "/s", _cell(own), "", "", "", "", 1, ""]
    for step in staircase.steps:
        run = f"load at {step.rate_per_s:g}/s"
        for key, estimate in step.estimates.items():
            values = [_cell(value) for value in (estimate.value, estimate.low, estimate.high)]
            tail = [estimate.n, estimate.of, len(step.rounds), _note(estimate)]
            yield [run, "all", title, key, QUANTITIES[key].unit, *values, *tail]
        yield from ([run, "all", title, *row] for row in _csv_counts(step))
        for number_of_round, figures in step.rounds.items():
            yield from ([run, number_of_round, title, *row] for row in _csv_counts(figures))


def _csv_search(search: Search) -> Iterator[list[object]]:
    """Of each step of each round how many requests missed each condition of the objective."""
    title = no_formula(search.title)
    for number_of_round, steps in search.rounds.items():
        for step in steps:
            note = "" if step.counts.is_kept else f"{NOT_KEPT}; does not count"
            for condition, missed in zip(search.objective.conditions, step.told.missed, strict=True):
                counts = [missed, "", "", step.told.offered, "requests", 1, note]
                run = f"step of block {step.block} at {step.rate_per_s:g}/s"
                yield [run, number_of_round, title, f"missed {condition.text}", "", *counts]


def _csv_change(effect: Effect) -> Iterator[list[object]]:
    """What a change did, over all rounds and in each: counts of requests, and times."""
    title = no_formula(effect.title)
    run = f"load, change {effect.number}: {effect.planned.action}"
    requests = effect.total("requests")
    counts = {name: effect.total(name) for name in ("lost", "failed", "retried", "slowed")}
    counts |= {name: effect.unsent(name) for name in ("over_bound", "unanswered", "cut_off", "dropped")}
    extra = effect.figure("extra_s")
    for name, count in counts.items():
        is_told = name != "slowed" or extra.asked
        cell, note = (count, "") if is_told else ("", _note(extra.estimate))
        yield [run, "all", title, name, "", cell, "", "", requests, "requests", len(effect.rounds), note]
    for error, count in effect.errors:
        note = no_formula(error)
        yield [run, "all", title, "failed with", "", count, "", "", requests, "requests", len(effect.rounds), note]
    for key in TIMES:
        figure = effect.figure(key)
        values = [_cell(value) for value in (figure.estimate.value, figure.estimate.low, figure.estimate.high)]
        note = f"not in {figure.never} of {figure.asked} rounds" if figure.never else _note(figure.estimate)
        yield [run, "all", title, key, "s", *values, figure.estimate.n, "rounds", len(effect.rounds), note]
        for number_of_round, recovery in effect.rounds.items():
            own = recovery.times[key]
            never = "not within the run" if recovery.is_last else "not before the next change"
            note = never if own.is_never else no_formula(own.missing)
            yield [run, number_of_round, title, key, "s", _cell(own.value), "", "", "", "", 1, note]
    for number_of_round, recovery in effect.rounds.items():
        yield [run, number_of_round, title, "lost", "", recovery.lost, "", "", recovery.requests, "requests", 1, ""]


def _csv_counts(step: Step | RoundStep) -> Iterator[list[object]]:
    """What became of the requests due at a rate, in one round or in all together."""
    count = step.total if isinstance(step, Step) else partial(getattr, step)
    rounds = len(step.rounds) if isinstance(step, Step) else 1
    for name in COUNTS:
        yield [name, "", count(name), "", "", count("due"), "requests", rounds, step.state if name == "due" else ""]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.10g}"


def _note(estimate: Estimate) -> str:
    return no_formula(estimate.missing or (PART if estimate.is_part else ""))


def no_formula(value: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(FIRST_OF_A_FORMULA) else value
