"""From frames to figures: of one run, and of a deployment over its rounds with a 95% interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from analysis.frames import Deployment, Run
from analysis.hidden import hidden_cpu_ms
from analysis.measures import MEASURES
from analysis.series import cpu_per_second, memory_at, memory_per_second, throughput_per_second, totals

CONFIDENCE = 0.95
ABOVE_PERCENTILE = 100
"""So many requests have to lie above a percentile, or it is one of chance."""
NAN = float("nan")
SUMMED = ("requests", "failures")
"""Counts are those of all rounds; other figures are means over the rounds."""


@dataclass(frozen=True)
class Figure:
    """One number. ``low`` and ``high`` bound its 95% interval and are NaN where there is none; ``n`` is what it was
    computed from, ``of`` names that; ``rounds`` are those that it was measured in; ``missing`` says why ``value`` is
    NaN."""

    value: float
    n: int
    of: str
    low: float = NAN
    high: float = NAN
    rounds: int = 1
    missing: str | None = None

    @property
    def is_measured(self) -> bool:
        return not math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        return not (math.isnan(self.low) or math.isnan(self.high))


Summary = Mapping[str, Figure]
"""The figures of one run's measured phase, or of a deployment over its rounds, by the keys of ``MEASURES``."""


def missing(reason: str) -> Figure:
    """A figure that was not had."""
    return Figure(NAN, 0, "", rounds=0, missing=reason)


def summarize(run: Run) -> dict[str, Figure]:
    """All figures of one run. Response times are of the requests sent in the measured phase; failed ones only count."""
    measured = run.measured
    answered = run.answered
    times = answered["response_time_ms"].to_numpy()
    queue, inference = (answered[name].to_numpy() for name in ("queue_ms", "inference_ms"))
    start, end = run.window_unix_s
    figures = {
        "requests": Figure(len(measured), len(measured), "requests"),
        "failures": Figure(len(measured) - len(answered), len(measured), "requests"),
        "throughput_per_s": _throughput(run),
        "queue_ms": _median_told(queue),
        "inference_ms": _median_told(inference),
        "rest_ms": _median_told(times - queue - inference),
    }
    asked = {one.key: one.quantile for one in MEASURES.values() if one.quantile is not None}
    figures |= dict(zip(asked, quantiles(times, [*asked.values()]), strict=True))
    figures |= _resources(run) | _bodies(answered, end - start) | hidden_figures(run)
    return {key: figures[key] for key in MEASURES if key in figures}


def quantiles(values: np.ndarray, asked: Sequence[float]) -> list[Figure]:
    """Quantiles of the raw values: exact, not binned, interpolated as NumPy does by default."""
    if len(values) == 0:
        return [missing("no request was answered") for _ in asked]
    return [Figure(float(value), len(values), "requests") for value in np.quantile(np.sort(values), asked)]


def hidden_figures(run: Run) -> dict[str, Figure]:
    """CPU time an answer that is in no container's account."""
    return {
        key: Figure(value, answers, "answers") if reason is None else missing(reason)
        for key, (value, answers, reason) in hidden_cpu_ms(run).items()
    }


def over_rounds(rounds: Sequence[Summary]) -> dict[str, Figure]:
    """Each figure over the rounds: their mean, with its t interval from how the rounds differ; counts are sums.

    With one round there is no interval: how requests of one round differ says nothing of the next round.
    """
    keys = [key for key in MEASURES if any(key in one for one in rounds)]
    return {key: _over_rounds(key, [one[key] for one in rounds if key in one]) for key in keys}


def _over_rounds(key: str, figures: Sequence[Figure]) -> Figure:
    told = [one for one in figures if one.is_measured]
    if not told:
        return figures[0]
    values = np.array([one.value for one in told])
    n = sum(one.n for one in told)
    if key in SUMMED:
        return Figure(float(values.sum()), n, told[0].of, rounds=len(told))
    low, high = t_interval(values)
    return Figure(float(values.mean()), n, told[0].of, max(0.0, low), high, len(told))


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of independent values (Student's t); NaN for fewer than two."""
    if len(values) < 2:
        return NAN, NAN
    arm = special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - arm), float(values.mean() + arm)


@dataclass(frozen=True)
class Measured:
    """A deployment's figures of one kind of run: of each round, by its number, and over all rounds."""

    deployment: Deployment
    rounds: Mapping[int, Summary]
    summary: Summary

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


def measure_load(deployment: Deployment) -> Measured:
    """A deployment's figures under load. Percentiles with too few requests above are left out."""
    starts = {one.number: one.seconds_to_healthy for one in deployment.rounds}
    rounds = {}
    for number, run in deployment.loads.items():
        start = starts[number]
        timed = missing("the start was not timed") if start is None else Figure(float(start), 1, "starts")
        rounds[number] = summarize(run) | {"seconds_to_healthy": timed}
    return Measured(deployment, rounds, _without_chance(over_rounds([*rounds.values()])))


def measure_pass(deployment: Deployment) -> Measured:
    """A deployment's figures of the single pass.

    Its median is shown however few texts there are: they are all the texts, not a sample of them.
    """
    rounds = {number: summarize(run) for number, run in deployment.single_passes.items()}
    figures = over_rounds([*rounds.values()])
    return Measured(deployment, rounds, _without_chance(figures) | {"median_ms": figures["median_ms"]})


def _without_chance(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """Percentiles above which fewer than 100 requests lie, in all rounds together, are not shown."""
    kept = dict(figures)
    for key, measure in MEASURES.items():
        figure = kept.get(key)
        if measure.quantile is None or figure is None or not figure.is_measured:
            continue
        if figure.n * (1 - measure.quantile) < ABOVE_PERCENTILE - 1e-6:
            needs = math.ceil(ABOVE_PERCENTILE / (1 - measure.quantile) - 1e-6)
            reason = f"fewer than {ABOVE_PERCENTILE} of the {figure.n:,} requests lie above; {needs:,} are needed"
            kept[key] = replace(missing(reason), n=figure.n)
    return kept


def _throughput(run: Run) -> Figure:
    counts = throughput_per_second(run)
    if counts.empty:
        return missing("the measured phase is shorter than a second")
    return Figure(float(counts.mean()), int(counts.sum()), "answers")


def why_no_samples(run: Run) -> str | None:
    """Why CPU, memory and interfaces of all replicas together are not known; None where they are."""
    unsampled = [one for one in run.record["replicas"]["list"] if not one.get("sampled")]
    if unsampled:
        return f"{unsampled[0].get('name')} was not sampled: it {unsampled[0].get('reason') or 'gave no reason'}"
    if run.record["replicas"].get("asked") == "none":
        return "sampling was switched off (--replicas none)"
    if totals(run).empty:
        problems = run.record["replicas"]["problems"]
        return str(problems[0]) if problems else "no replica was sampled long enough"
    return None


def why_unlike(one: Deployment, other: Deployment) -> str | None:
    """What differs between two deployments' loads that must not, if they are to be compared."""
    if not one.loads or not other.loads:
        return "not measured"
    mine, theirs = ([conditions(run) for run in each.loads.values()] for each in (one, other))
    unlike = [name for name in mine[0] if len({repr(run[name]) for run in (*mine, *theirs)}) > 1]
    if unlike:
        return f"not compared: {', '.join(unlike)} not the same"
    return None if mine[0]["model"] else "not compared: the service did not say which model answered"


def conditions(run: Run) -> dict[str, Any]:
    """What two runs must have in common for their figures to be comparable."""
    record = run.record
    return {
        "model": ((record.get("service") or {}).get("model") or {}).get("sha256"),
        "inference engine": ((record.get("service") or {}).get("engine") or {}).get("name"),
        "texts": record["texts"]["sha256"],
        "user class": record["user_class"],
        "users": record.get("users"),
        "run time": record.get("run_time_s"),
        "warm-up": record["warm_up_s"],
    }


def _median_told(values: np.ndarray) -> Figure:
    told = values[~np.isnan(values)]
    return quantiles(told, [0.5])[0] if len(told) else missing("the service did not say (Server-Timing)")


def _resources(run: Run) -> dict[str, Figure]:
    """CPU, memory and interfaces of all replicas together."""
    reason = why_no_samples(run)
    if reason is not None:
        keys = ("cpu_percent", "cpu_ms_per_answer", "memory_mean_mb", "memory_max_mb", "memory_mb_s_per_1000")
        return dict.fromkeys(keys, missing(reason)) | _interfaces(run, reason, 0)
    used = totals(run)
    answers = _answers_while_sampled(run)
    memory = _mean(memory_per_second(run)) if len(run.samples) else missing("no sample told it")
    memory = replace(memory, value=memory.value / 1e6)
    start, end = run.window_unix_s
    rate = throughput_per_second(run).mean() if end - start >= 1 else NAN
    held = memory.value / rate * 1000 if rate else NAN
    return {
        "cpu_percent": _mean(cpu_per_second(run)),
        "cpu_ms_per_answer": _an_answer(used["cpu_seconds"].sum(min_count=1) * 1000, answers),
        "memory_mean_mb": memory,
        "memory_max_mb": _memory_maximum(run),
        "memory_mb_s_per_1000": replace(memory, value=held)
        if not math.isnan(held)
        else missing(memory.missing or "no answer came"),
    } | _interfaces(run, None, answers)


def _mean(series: pd.Series) -> Figure:
    told = series.dropna()
    return Figure(float(told.mean()), len(told), "seconds") if len(told) else missing("the samples cover no second")


def _answers_while_sampled(run: Run) -> int:
    """The answers that came between the first and the last sample: what the counters' growth was for."""
    start, end = run.window_unix_s
    sampled = run.samples["sampled_at_unix_s"]
    finished = run.answered_unix_s
    return int(((finished >= max(start, sampled.min())) & (finished <= min(end, sampled.max()))).sum())


def _an_answer(used: float, answers: int) -> Figure:
    if pd.isna(used) or not answers:
        return missing("no answer came while the replicas were sampled")
    return Figure(float(used) / answers, answers, "answers")


def _memory_maximum(run: Run) -> Figure:
    start, end = run.window_unix_s
    sampled = run.samples["sampled_at_unix_s"]
    values = memory_at(run, sampled[sampled.between(start, end)].to_numpy(dtype=float)).dropna()
    if values.empty:
        return missing("no sample in the measured phase told it")
    return Figure(float(values.max()) / 1e6, len(values), "samples")


def _bodies(answered: pd.DataFrame, seconds: float) -> dict[str, Figure]:
    """Bytes of bodies, as the load generator counted them."""
    figures = {}
    total = 0.0
    for way, name in (("in", "request_bytes"), ("out", "response_bytes")):
        told = answered[name].dropna()
        if told.empty:
            figures[f"body_{way}_mb"] = figures[f"body_{way}_kb_per_s"] = missing("the load generator did not count it")
            total = NAN
            continue
        figures[f"body_{way}_mb"] = Figure(float(told.sum()) / 1e6, len(told), "requests")
        figures[f"body_{way}_kb_per_s"] = (
            Figure(float(told.sum()) / 1e3 / seconds, len(told), "requests")
            if seconds > 0
            else missing("the measured phase has no length")
        )
        total += float(told.sum())
    figures["body_kb_per_1000"] = (
        missing("the load generator did not count it")
        if math.isnan(total)
        else Figure(total / len(answered), len(answered), "answers")
    )
    return figures


def _interfaces(run: Run, reason: str | None, answers: int) -> dict[str, Figure]:
    """Bytes through the containers' own interfaces."""
    used = totals(run) if reason is None else None
    if used is not None and used["net_rx_bytes"].isna().all():
        is_process = str(run.record["replicas"].get("found")).startswith("process")
        reason = (
            "a process has no network interfaces of its own; see the client's view"
            if is_process
            else "the engine told no counters of the interfaces"
        )
    ways = {"in": "net_rx_bytes", "out": "net_tx_bytes"}
    keys = [f"interface_{way}_{unit}" for unit in ("mb", "kb_per_s") for way in ways]
    if used is None or reason is not None:
        return dict.fromkeys([*keys, "interface_kb_per_1000"], missing(reason or "not sampled"))
    of = "replica" if len(used) == 1 else "replicas"
    seconds = float(used["covered_s"].max())
    figures = {}
    for way, name in ways.items():
        total = float(used[name].sum())
        figures[f"interface_{way}_mb"] = Figure(total / 1e6, len(used), of)
        figures[f"interface_{way}_kb_per_s"] = Figure(total / 1e3 / seconds, len(used), of)
    figures["interface_kb_per_1000"] = _an_answer(float(used[[*ways.values()]].to_numpy().sum()), answers)
    return figures
