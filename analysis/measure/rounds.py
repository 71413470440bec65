"""From frames to figures: of one run, and of a deployment over its rounds with a 95% interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import special

from analysis.measure.hidden_cpu import hidden_cpu_ms
from analysis.measure.quantity import QUANTITIES
from analysis.measure.series import (
    Coverage,
    coverage,
    covered_together,
    cpu_per_second,
    growth,
    is_memory_told,
    memory_at,
    memory_per_second,
    throughput_per_second,
)
from analysis.read.results import Deployment, Run
from runfiles.events import NO_REPLICAS, PROCESS

CONFIDENCE = 0.95
ABOVE_PERCENTILE = 100
"""So many requests have to lie above a percentile, or it is one of chance."""
NAN = float("nan")
WAYS = {"in": "net_rx_bytes", "out": "net_tx_bytes"}
INTERFACES = (
    *(f"interface_{way}_{unit}" for unit in ("mb", "kb_per_s") for way in WAYS),
    "interface_kb_per_1000",
)
SUMMED = ("requests", "failures")
"""Counts are those of all rounds; other figures are means over the rounds."""


@dataclass(frozen=True)
class Estimate:
    """One number. ``low`` and ``high`` bound its 95% interval and are NaN where there is none; ``n`` is what it was
    computed from, ``of`` names that; ``rounds`` are those that it was measured in; ``missing`` says why ``value`` is
    NaN. ``is_part``: it is of the part of the measured phase that samples cover, in one round at least."""

    value: float
    n: int
    of: str
    low: float = NAN
    high: float = NAN
    rounds: int = 1
    missing: str | None = None
    is_part: bool = False

    @property
    def is_measured(self) -> bool:
        return not math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        return not (math.isnan(self.low) or math.isnan(self.high))


Estimates = Mapping[str, Estimate]
"""The figures of one run's measured phase, or of a deployment over its rounds, by the keys of ``QUANTITIES``."""


def missing(reason: str) -> Estimate:
    """A figure that was not had."""
    return Estimate(NAN, 0, "", rounds=0, missing=reason)


def summarize(run: Run) -> dict[str, Estimate]:
    """All figures of one run. Response times are of the requests sent in the measured phase; failed ones only count."""
    measured = run.measured
    answered = run.answered
    times = answered["response_time_ms"].to_numpy()
    queue, inference = (answered[name].to_numpy() for name in ("queue_ms", "inference_ms"))
    start, end = run.window_unix_s
    figures = {
        "requests": Estimate(len(measured), len(measured), "requests"),
        "failures": Estimate(len(measured) - len(answered), len(measured), "requests"),
        "throughput_per_s": _throughput(run),
        "queue_ms": _median_told(queue),
        "inference_ms": _median_told(inference),
        "rest_ms": _median_told(times - queue - inference),
    }
    asked = {one.key: one.quantile for one in QUANTITIES.values() if one.quantile is not None}
    figures |= dict(zip(asked, quantiles(times, [*asked.values()]), strict=True))
    figures |= _resources(run) | _bodies(answered, end - start) | hidden_figures(run)
    return {key: figures[key] for key in QUANTITIES if key in figures}


def quantiles(values: np.ndarray, asked: Sequence[float]) -> list[Estimate]:
    """Quantiles of the raw values: exact, not binned, interpolated as NumPy does by default."""
    if len(values) == 0:
        return [missing("no request was answered") for _ in asked]
    return [Estimate(float(value), len(values), "requests") for value in np.quantile(np.sort(values), asked)]


def hidden_figures(run: Run) -> dict[str, Estimate]:
    """CPU time an answer that is in no container's account."""
    return {
        key: missing(one.reason)
        if one.reason
        else Estimate(one.cpu_ms, one.answers, "answers", is_part=not one.is_whole)
        for key, one in hidden_cpu_ms(run).items()
    }


def over_rounds(rounds: Sequence[Estimates]) -> dict[str, Estimate]:
    """Each figure over the rounds: their mean, with its t interval from how the rounds differ; counts are sums.

    With one round there is no interval: how requests of one round differ says nothing of the next round.
    """
    keys = [key for key in QUANTITIES if any(key in one for one in rounds)]
    return {key: _over_rounds(key, [one[key] for one in rounds if key in one]) for key in keys}


def _over_rounds(key: str, figures: Sequence[Estimate]) -> Estimate:
    told = [one for one in figures if one.is_measured]
    if not told:
        return figures[0]
    values = np.array([one.value for one in told])
    n = sum(one.n for one in told)
    is_part = any(one.is_part for one in told)
    if key in SUMMED:
        return Estimate(float(values.sum()), n, told[0].of, rounds=len(told))
    low, high = t_interval(values)
    low = max(0.0, low) if values.min() >= 0 else low
    return Estimate(float(values.mean()), n, told[0].of, low, high, len(told), is_part=is_part)


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of independent values (Student's t); NaN for fewer than two."""
    if len(values) < 2:
        return NAN, NAN
    arm = special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - arm), float(values.mean() + arm)


@dataclass(frozen=True)
class Measurement:
    """A deployment's figures of one kind of run: of each round, by its number, and over all rounds."""

    deployment: Deployment
    rounds: Mapping[int, Estimates]
    summary: Estimates

    @property
    def name(self) -> str:
        return self.deployment.name

    @property
    def title(self) -> str:
        return self.deployment.title

    def values(self, key: str) -> dict[int, float]:
        """One figure of each round in which it was measured."""
        told = {number: one[key] for number, one in self.rounds.items() if key in one}
        return {number: one.value for number, one in told.items() if one.is_measured}


def measure_load(deployment: Deployment) -> Measurement:
    """A deployment's figures under load. Percentiles with too few requests above are left out."""
    starts = {one.number: one.seconds_to_healthy for one in deployment.rounds}
    rounds = {}
    for number, run in deployment.loads.items():
        start = starts[number]
        timed = missing("the start was not timed") if start is None else Estimate(float(start), 1, "starts")
        rounds[number] = summarize(run) | {"seconds_to_healthy": timed}
    return Measurement(deployment, rounds, _without_chance(over_rounds([*rounds.values()])))


def measure_pass(deployment: Deployment) -> Measurement:
    """A deployment's figures of the single pass.

    Its median is shown however few texts there are: they are all the texts, not a sample of them.
    """
    rounds = {number: summarize(run) for number, run in deployment.single_passes.items()}
    figures = over_rounds([*rounds.values()])
    return Measurement(deployment, rounds, _without_chance(figures) | {"median_ms": figures["median_ms"]})


def _without_chance(figures: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Percentiles above which fewer than 100 requests lie, in all rounds together, are not shown."""
    kept = dict(figures)
    for key, measure in QUANTITIES.items():
        figure = kept.get(key)
        if measure.quantile is None or figure is None or not figure.is_measured:
            continue
        if figure.n * (1 - measure.quantile) < ABOVE_PERCENTILE - 1e-6:
            needs = math.ceil(ABOVE_PERCENTILE / (1 - measure.quantile) - 1e-6)
            reason = f"fewer than {ABOVE_PERCENTILE} of the {figure.n:,} requests lie above; {needs:,} are needed"
            kept[key] = replace(missing(reason), n=figure.n)
    return kept


def _throughput(run: Run) -> Estimate:
    counts = throughput_per_second(run)
    if counts.empty:
        return missing("the measured phase is shorter than a second")
    return Estimate(float(counts.mean()), int(counts.sum()), "answers")


def why_no_samples(run: Run) -> str | None:
    """Why CPU, memory and interfaces of all replicas together are not known; None where they are."""
    unsampled = [replica for replica in run.record.replicas.list if not replica.sampled]
    if unsampled:
        return f"{unsampled[0].name} was not sampled: it {unsampled[0].reason or 'gave no reason'}"
    if run.record.replicas.asked == NO_REPLICAS:
        return "sampling was switched off (--replicas none)"
    each = coverage(run)
    if not any(one.covered_s for one in each.values()):
        problems = run.record.replicas.problems
        return str(problems[0]) if problems else "no replica was sampled long enough"
    never = [name for name, one in each.items() if not one.covered_s]
    return f"{never[0]} was not sampled in the measured phase" if never else None


def _median_told(values: np.ndarray) -> Estimate:
    told = values[~np.isnan(values)]
    return quantiles(told, [0.5])[0] if len(told) else missing("the service did not say (Server-Timing)")


def _resources(run: Run) -> dict[str, Estimate]:
    """CPU, memory and interfaces of all replicas together: rates of the time in which all of them were sampled, totals
    only where that is the whole measured phase."""
    part = covered_together(run)
    reason = why_no_samples(run) or (None if part.covered_s else "the replicas were not sampled at the same time")
    if reason is not None:
        keys = ("cpu_percent", "cpu_ms_per_answer", "memory_mean_mb", "memory_max_mb", "memory_mb_s_per_1000")
        return dict.fromkeys((*keys, *INTERFACES), missing(reason))
    used = growth(run, np.array([part.start_unix_s, part.end_unix_s]))
    finished = run.answered_unix_s
    answers = int(((finished >= part.start_unix_s) & (finished <= part.end_unix_s)).sum())
    memory = _mean(memory_per_second(run))
    is_told = is_memory_told(run)
    memory = replace(memory, value=memory.value / 1e6, is_part=memory.is_measured and not is_told)
    start, end = run.window_unix_s
    rate = throughput_per_second(run).mean() if end - start >= 1 else NAN
    held = memory.value / rate * 1000 if rate else NAN
    figures = {
        "cpu_percent": _mean(cpu_per_second(run)),
        "cpu_ms_per_answer": _an_answer(used["cpu_seconds"].sum(skipna=False) * 1000, answers),
        "memory_mean_mb": memory,
        "memory_max_mb": _memory_maximum(run)
        if part.is_whole and is_told
        else missing(str(part) if not part.is_whole else "memory was told for part of the run only"),
        "memory_mb_s_per_1000": replace(memory, value=held)
        if not math.isnan(held)
        else missing(memory.missing or "no answer came"),
    } | _interfaces(run, part, used, answers)
    return figures if part.is_whole else {key: replace(one, is_part=True) for key, one in figures.items()}


def _mean(series: pd.Series) -> Estimate:
    told = series.dropna()
    return Estimate(float(told.mean()), len(told), "seconds") if len(told) else missing("the samples cover no second")


def _an_answer(used: float, answers: int) -> Estimate:
    if pd.isna(used) or not answers:
        return missing("no answer came while the replicas were sampled")
    return Estimate(float(used) / answers, answers, "answers")


def _memory_maximum(run: Run) -> Estimate:
    start, end = run.window_unix_s
    sampled = run.samples["sampled_at_unix_s"]
    values = memory_at(run, sampled[sampled.between(start, end)].to_numpy(dtype=float)).dropna()
    if values.empty:
        return missing("no sample in the measured phase told it")
    return Estimate(float(values.max()) / 1e6, len(values), "samples")


def _bodies(answered: pd.DataFrame, seconds: float) -> dict[str, Estimate]:
    """Bytes of bodies, as the load generator counted them."""
    figures = {}
    total = 0.0
    for way, name in (("in", "request_bytes"), ("out", "response_bytes")):
        told = answered[name].dropna()
        if told.empty:
            figures[f"body_{way}_mb"] = figures[f"body_{way}_kb_per_s"] = missing("the load generator did not count it")
            total = NAN
            continue
        figures[f"body_{way}_mb"] = Estimate(float(told.sum()) / 1e6, len(told), "requests")
        figures[f"body_{way}_kb_per_s"] = (
            Estimate(float(told.sum()) / 1e3 / seconds, len(told), "requests")
            if seconds > 0
            else missing("the measured phase has no length")
        )
        total += float(told.sum())
    figures["body_kb_per_1000"] = (
        missing("the load generator did not count it")
        if math.isnan(total)
        else Estimate(total / len(answered), len(answered), "answers")
    )
    return figures


def _interfaces(run: Run, part: Coverage, used: pd.DataFrame, answers: int) -> dict[str, Estimate]:
    """Bytes through the containers' own interfaces."""
    counted = used[[*WAYS.values()]]
    if counted.isna().all(axis=None):
        return dict.fromkeys(INTERFACES, missing(_why_no_interfaces(run)))
    if counted.isna().any(axis=None):
        first = used["replica"][counted.isna().any(axis=1)].iloc[0]
        reason = f"the engine did not tell the counters of the interfaces of {first} throughout"
        return dict.fromkeys(INTERFACES, missing(reason))
    figures = {}
    for way, name in WAYS.items():
        total = float(used[name].sum())
        figures[f"interface_{way}_mb"] = (
            Estimate(total / 1e6, len(used), "replicas") if part.is_whole else missing(str(part))
        )
        figures[f"interface_{way}_kb_per_s"] = Estimate(total / 1e3 / part.covered_s, len(used), "replicas")
    figures["interface_kb_per_1000"] = _an_answer(float(counted.to_numpy().sum()), answers)
    return figures


def _why_no_interfaces(run: Run) -> str:
    """Why none of the replicas has counters of its network interfaces."""
    replicas = run.record.replicas
    if (replicas.found or "").partition(":")[0] == PROCESS:
        return "a process has no network interfaces of its own; see the client's view"
    sources = [replica.sources or {} for replica in replicas.list]
    if sources and all(source and "network" not in source for source in sources):
        return "the container uses the machine's own network (--network host); see the client's view"
    return "the engine told no counters of the interfaces"
