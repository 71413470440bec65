"""What the replicas of one run used: CPU, memory and bytes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.measure.quantity import NAN, QUANTITIES, Estimate, missing
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
from analysis.read.rows import Rows
from analysis.read.runs import Run
from runfiles.events import NO_REPLICAS, PROCESS

WAYS = {"in": "net_rx_bytes", "out": "net_tx_bytes"}
INTERFACES = (
    *(f"interface_{way}_{unit}" for unit in ("mb", "kb_per_s") for way in WAYS),
    "interface_kb_per_1000",
)
ANSWERED = "sent in the measured phase and answered"
NOT_COUNTED = "the load generator did not count it"


def resources(run: Run) -> dict[str, Estimate]:
    """CPU, memory and interfaces of all replicas together. Rates are those of the time in which all replicas were
    sampled; totals are given only if that is the whole measured phase."""
    part = covered_together(run)
    reason = why_no_samples(run) or (None if part.covered_s else "the replicas were not sampled at the same time")
    if reason is not None:
        return dict.fromkeys((key for key, quantity in QUANTITIES.items() if quantity.is_sampled), missing(reason))
    used = growth(run, np.array([part.start_unix_s, part.end_unix_s]))
    finished = run.answered_unix_s
    answers = int(((finished >= part.start_unix_s) & (finished <= part.end_unix_s)).sum())
    estimates = {
        "cpu_percent": _mean(cpu_per_second(run)),
        "cpu_ms_per_answer": _an_answer(used["cpu_seconds"].sum(skipna=False) * 1000, answers),
    }
    estimates |= _memory(run, part) | _interfaces(run, part, used, answers)
    return estimates if part.is_whole else {key: replace(estimate, is_part=True) for key, estimate in estimates.items()}


def _mean(series: pd.Series) -> Estimate:
    told = series.dropna()
    if told.empty:
        return missing("the samples cover no whole second")
    return Estimate(float(told.mean()), len(told), "seconds", which="in which all replicas were sampled")


def _an_answer(used: float, answers: int) -> Estimate:
    if pd.isna(used) or not answers:
        return missing("no answer came while the replicas were sampled")
    return Estimate(float(used) / answers, answers, "answers", which="that came while the replicas were sampled")


def _memory(run: Run, part: Coverage) -> dict[str, Estimate]:
    """Mean and largest memory, and what was held for 1,000 answers."""
    is_told = is_memory_told(run)
    mean = _mean(memory_per_second(run))
    mean = replace(mean, value=mean.value / 1e6, is_part=mean.is_measured and not is_told)
    largest = _memory_maximum(run)
    if not part.is_whole or not is_told:
        largest = missing(str(part) if not part.is_whole else "memory was told for part of the run only")
    start, end = run.window_unix_s
    rate = throughput_per_second(run).mean() if end - start >= 1 else NAN
    held = mean.value / rate * 1000 if rate else NAN
    limit = _memory_limit(run)
    return {
        "memory_mean_mb": mean,
        "memory_max_mb": largest,
        "memory_percent": replace(mean, value=mean.value / limit.value * 100)
        if limit.is_measured
        else missing(mean.missing or limit.missing or ""),
        "memory_limit_mb": limit,
        "memory_mb_s_per_1000": missing(mean.missing or "no answer came")
        if math.isnan(held)
        else replace(mean, value=held),
    }


def _memory_limit(run: Run) -> Estimate:
    """The limits of all replicas together. Docker says the machine's memory where there is none."""
    limits = run.samples.groupby("replica", observed=True)["memory_limit_bytes"].median()
    if limits.isna().any():
        is_process = (run.record.replicas.found or "").partition(":")[0] == PROCESS
        return missing("a process has no memory limit" if is_process else "the engine did not tell the limit")
    return Estimate(float(limits.sum()) / 1e6, len(limits), "replicas")


def _memory_maximum(run: Run) -> Estimate:
    start, end = run.window_unix_s
    sampled = run.samples["sampled_at_unix_s"]
    values = memory_at(run, sampled[sampled.between(start, end)].to_numpy(dtype=float)).dropna()
    if values.empty:
        return missing("no sample in the measured phase told it")
    return Estimate(float(values.max()) / 1e6, len(values), "samples", which="in the measured phase")


def why_no_samples(run: Run) -> str | None:
    """Why CPU, memory and interfaces of all replicas together are not known; None if they are."""
    unsampled = [replica for replica in run.record.replicas.list if not replica.sampled]
    if unsampled:
        return f"{unsampled[0].name} was not sampled: it {unsampled[0].reason or 'gave no reason'}"
    if run.record.replicas.asked == NO_REPLICAS:
        return "sampling was switched off (--replicas none)"
    by_replica = coverage(run)
    if not any(part.covered_s for part in by_replica.values()):
        problems = run.record.replicas.problems
        return str(problems[0]) if problems else "no replica was sampled long enough"
    never = [name for name, part in by_replica.items() if not part.covered_s]
    return f"{never[0]} was not sampled in the measured phase" if never else None


def _interfaces(run: Run, part: Coverage, used: pd.DataFrame, answers: int) -> dict[str, Estimate]:
    """Bytes through the containers' own interfaces."""
    counted = used[[*WAYS.values()]]
    if counted.isna().all(axis=None):
        return dict.fromkeys(INTERFACES, missing(_why_no_interfaces(run)))
    if counted.isna().any(axis=None):
        first = used["replica"][counted.isna().any(axis=1)].iloc[0]
        reason = f"the engine did not tell the counters of the interfaces of {first} throughout"
        return dict.fromkeys(INTERFACES, missing(reason))
    estimates = {}
    for way, name in WAYS.items():
        total = float(used[name].sum())
        estimates[f"interface_{way}_mb"] = (
            Estimate(total / 1e6, len(used), "replicas", which="added up over the rounds")
            if part.is_whole
            else missing(str(part))
        )
        estimates[f"interface_{way}_kb_per_s"] = Estimate(
            total / 1e3 / part.covered_s, len(used), "replicas", which="added up over the rounds"
        )
    estimates["interface_kb_per_1000"] = _an_answer(float(counted.to_numpy().sum()), answers)
    return estimates


def _why_no_interfaces(run: Run) -> str:
    """Why none of the replicas has counters of its network interfaces."""
    replicas = run.record.replicas
    if (replicas.found or "").partition(":")[0] == PROCESS:
        return "a process has no network interfaces of its own; see the bytes counted by the client"
    sources = [replica.sources or {} for replica in replicas.list]
    if sources and all(source and "network" not in source for source in sources):
        return "the container uses the machine's own network (--network host); see the bytes counted by the client"
    return "the engine told no counters of the interfaces"


def bodies(answered: pd.DataFrame | Rows, seconds: float) -> dict[str, Estimate]:
    """Bytes of bodies, as the load generator counted them."""
    estimates = {}
    total = 0.0
    for way, name in (("in", "request_bytes"), ("out", "response_bytes")):
        told = answered[name].dropna()
        size = float(told.to_numpy().sum(dtype=float)) if len(told) else NAN
        total += size
        counted = Estimate(size, len(told), "requests", which=ANSWERED) if len(told) else missing(NOT_COUNTED)
        estimates[f"body_{way}_mb"] = replace(counted, value=size / 1e6)
        estimates[f"body_{way}_kb_per_s"] = (
            replace(counted, value=size / 1e3 / seconds)
            if counted.is_measured and seconds > 0
            else missing(counted.missing or "the measured phase has no length")
        )
    n = len(answered)
    estimates["body_kb_per_1000"] = (
        missing(NOT_COUNTED)
        if math.isnan(total)
        else Estimate(total / n, n, "answers", which="to requests sent in the measured phase")
    )
    return estimates
