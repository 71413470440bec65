"""From frames to figures: each with the number it was computed from and a 95% interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.frames import Deployment, Run

CONFIDENCE = 0.95
NAN = float("nan")
COUNTERS = ("cpu_seconds", "net_rx_bytes", "net_tx_bytes")
LEAST_COVERED_S = 0.5
"""A second of which the samples cover less gives no rate."""


@dataclass(frozen=True)
class Figure:
    """One number. ``low`` and ``high`` bound its 95% interval and are NaN where there is none; ``n`` is what it was
    computed from, ``of`` names that; ``missing`` says why ``value`` is NaN."""

    value: float
    low: float
    high: float
    n: int
    of: str
    missing: str | None = None

    @property
    def is_measured(self) -> bool:
        return not math.isnan(self.value)


@dataclass(frozen=True)
class Latency:
    """Response times of one run in ms, from the raw rows: exact, not binned."""

    median: Figure
    p95: Figure
    p99: Figure


@dataclass(frozen=True)
class Traffic:
    """Bytes in the measured phase, seen from one place. ``received`` and ``sent`` are the service's directions."""

    received_bytes: Figure
    sent_bytes: Figure
    received_bytes_per_s: Figure
    sent_bytes_per_s: Figure


@dataclass(frozen=True)
class RunSummary:
    """The figures of one run's measured phase. CPU: 100 = one core, all replicas together."""

    requests: int
    failures: int
    seconds: float
    latency: Latency
    throughput: Figure
    queue_ms: Figure
    inference_ms: Figure
    rest_ms: Figure
    cpu_percent: Figure
    cpu_ms_per_request: Figure
    memory_mean_bytes: Figure
    memory_max_bytes: Figure
    client_traffic: Traffic
    interface_traffic: Traffic


@dataclass(frozen=True)
class Ratio:
    """A deployment's figure over the host process's; ``unlike`` says why the two are not compared."""

    value: float
    low: float
    high: float
    unlike: str | None = None


def missing(reason: str) -> Figure:
    """A figure that was not had."""
    return Figure(NAN, NAN, NAN, 0, "", reason)


def quantile(values: np.ndarray, q: float, of: str = "requests") -> Figure:
    """The ``q`` quantile with a distribution-free interval from order statistics (scipy.stats.quantile_test).

    A bound is NaN where there are too few values for it, as for a p99 of fewer than some 400.
    """
    if len(values) == 0:
        return missing("no request was answered")
    value = float(np.quantile(values, q))
    interval = stats.quantile_test(values, q=value, p=q).confidence_interval(CONFIDENCE)
    return Figure(value, float(interval.low), float(interval.high), len(values), of)


def mean(values: np.ndarray, of: str, reason: str) -> Figure:
    """The mean of what can't be negative, with its t interval cut at 0; ``reason`` says why there is none when
    ``values`` is empty."""
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return missing(reason)
    value = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0:
        return Figure(value, NAN, NAN, len(values), of)
    low, high = stats.t.interval(CONFIDENCE, len(values) - 1, loc=value, scale=stats.sem(values))
    return Figure(value, max(0.0, float(low)), float(high), len(values), of)


def summarize(run: Run) -> RunSummary:
    """All figures of one run. Latency is of the requests sent in the measured phase; failed ones are only counted."""
    measured = run.measured
    answered = measured[measured["error"] == ""]
    times = answered["response_time_ms"].to_numpy()
    start, end = run.window_unix_s
    rest = times - answered["queue_ms"].to_numpy() - answered["inference_ms"].to_numpy()
    no_samples = why_no_samples(run)
    cpu, memory = cpu_per_second(run), memory_per_second(run)
    return RunSummary(
        requests=len(measured),
        failures=len(measured) - len(answered),
        seconds=end - start,
        latency=Latency(*(quantile(times, q) for q in (0.5, 0.95, 0.99))),
        throughput=mean(
            throughput_per_second(run).to_numpy(dtype=float), "seconds", "the measured phase is shorter than a second"
        ),
        queue_ms=_median_told(answered["queue_ms"].to_numpy()),
        inference_ms=_median_told(answered["inference_ms"].to_numpy()),
        rest_ms=_median_told(rest),
        cpu_percent=_unless(no_samples, mean(cpu.to_numpy(dtype=float), "seconds", "the samples cover no second")),
        cpu_ms_per_request=_unless(no_samples, _cpu_ms_per_request(run)),
        memory_mean_bytes=_unless(
            no_samples, mean(memory.to_numpy(dtype=float), "seconds", "the samples cover no second")
        ),
        memory_max_bytes=_unless(no_samples, _memory_maximum(run)),
        client_traffic=_client_traffic(answered, end - start),
        interface_traffic=_interface_traffic(run, no_samples),
    )


def throughput_per_second(run: Run) -> pd.Series:
    """Answers completed in each whole second of the measured phase, seconds without any included as 0.

    An answer counts when it came, so those to requests sent at the end of the warm-up are in it.
    """
    start, end = run.window_unix_s
    answered = run.requests[run.requests["error"] == ""]
    completed = answered["started_at_unix_s"] + answered["response_time_ms"] / 1000 - start
    counts: pd.Series = np.floor(completed.dropna()).astype(int).value_counts()
    return counts.reindex(range(int(end - start)), fill_value=0)


def growth(run: Run, edges_unix_s: np.ndarray) -> pd.DataFrame:
    """By how much each replica's counters grew between each edge and the next.

    Between two samples a counter is taken to grow evenly, so an interval gets the part of the growth that lies in it,
    however far apart the samples are. Where a counter fell the replica was started anew, and what the counter shows
    is what was used since. Beyond a replica's first and last sample nothing is known, and nothing is made up.

    Returns:
        One row a replica and interval: ``replica``, ``interval`` (from 0), ``covered_s`` (how much of it lies between
        the first and the last sample), ``cpu_seconds``, ``net_rx_bytes``, ``net_tx_bytes`` (NaN: not measured).
    """
    tables = []
    for _, own in run.samples.groupby("replica_id", sort=False):
        at, samples = _on_generators_clock(own)
        if len(at) < 2:
            continue
        edges = np.clip(edges_unix_s, at[0], at[-1])
        table = pd.DataFrame({"replica": own["replica"].iloc[0], "interval": range(len(edges) - 1)})
        table["covered_s"] = np.diff(edges)
        for name in COUNTERS:
            counter = samples[name].ffill()
            increase = counter.diff()
            total = increase.where(~(increase < 0), counter).fillna(0).cumsum()
            grown = np.diff(np.interp(edges, at, total))
            table[name] = grown if samples[name].notna().any() else NAN
        tables.append(table[table["covered_s"] > 0])
    if not tables:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in ("replica", "interval", "covered_s", *COUNTERS)})
    sums: pd.DataFrame = pd.concat(tables).groupby(["replica", "interval"], as_index=False).sum(min_count=1)
    return sums


def rates_per_second(run: Run) -> pd.DataFrame:
    """What each replica used in each whole second of the measured phase, per second.

    Columns: ``replica``, ``second``, ``cpu_seconds``, ``net_rx_bytes``, ``net_tx_bytes``.
    """
    start, end = run.window_unix_s
    grown = growth(run, start + np.arange(int(end - start) + 1))
    grown = grown[grown["covered_s"] >= LEAST_COVERED_S].rename(columns={"interval": "second"})
    rates = grown[list(COUNTERS)].div(grown["covered_s"], axis=0)
    return pd.concat([grown[["replica", "second"]], rates], axis=1)


def totals(run: Run) -> pd.DataFrame:
    """What each replica used in the whole measured phase: as ``growth``, one row a replica, indexed by its name."""
    return growth(run, np.array(run.window_unix_s)).set_index("replica")


def cpu_per_second(run: Run) -> pd.Series:
    """CPU percent (100 = one core) of all replicas together, in each second of the measured phase that covers all."""
    each = rates_per_second(run).pivot(index="second", columns="replica", values="cpu_seconds")
    percent: pd.Series = each.dropna().sum(axis=1) * 100
    return percent


def memory_per_second(run: Run) -> pd.Series:
    """Memory of all replicas together in the middle of each second of the measured phase, in bytes."""
    start, end = run.window_unix_s
    return _memory_at(run, start + 0.5 + np.arange(int(end - start)))


def network_per_second(run: Run) -> pd.DataFrame:
    """Bytes a second through each replica's interfaces: columns ``replica``, ``second``, ``bytes_per_s``."""
    rates = rates_per_second(run)
    return rates[["replica", "second"]].assign(bytes_per_s=rates["net_rx_bytes"] + rates["net_tx_bytes"])


def ratio(figure: Figure, host: Figure, unlike: str | None) -> Ratio:
    """``figure`` over ``host``; the interval is the widest that the two intervals allow, without an upper bound where
    the host's may be 0."""
    if unlike is not None or not (figure.is_measured and host.is_measured and host.value):
        return Ratio(NAN, NAN, NAN, unlike or "not measured")
    return Ratio(figure.value / host.value, figure.low / host.high, figure.high / host.low if host.low else NAN)


def why_unlike(one: Deployment, other: Deployment) -> str | None:
    """What differs between two deployments' loads that must not, if they are to be compared."""
    if one.load is None or other.load is None:
        return "not measured"
    mine, theirs = _conditions(one.load), _conditions(other.load)
    unlike = [name for name in mine if mine[name] != theirs[name]]
    if unlike:
        return f"not compared: {', '.join(unlike)} not the same"
    return None if mine["model"] else "not compared: the service did not say which model answered"


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


def _conditions(run: Run) -> dict[str, Any]:
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


def _on_generators_clock(samples: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """When one replica's counters were read, by the load generator's clock, and the samples in that order.

    Time between reads is exact by the reader's clock, but that may be another machine's: the median of what the two
    clocks say apart is taken off.
    """
    own = samples.dropna(subset=["cpu_seconds"]).sort_values("read_at_unix_s").drop_duplicates("read_at_unix_s")
    apart = (own["sampled_at_unix_s"] - own["read_at_unix_s"]).median()
    return (own["read_at_unix_s"] + apart).to_numpy(dtype=float), own


def _median_told(values: np.ndarray) -> Figure:
    told = values[~np.isnan(values)]
    return quantile(told, 0.5) if len(told) else missing("the service did not say (Server-Timing)")


def _unless(reason: str | None, figure: Figure) -> Figure:
    return figure if reason is None else missing(reason)


def _cpu_ms_per_request(run: Run) -> Figure:
    """CPU time used between the first and the last sample, over the answers that came between these."""
    used = totals(run)["cpu_seconds"].sum(min_count=1)
    start, end = run.window_unix_s
    sampled = run.samples["sampled_at_unix_s"]
    answered = run.requests[run.requests["error"] == ""]
    completed = answered["started_at_unix_s"] + answered["response_time_ms"] / 1000
    answers = int(completed.between(max(start, sampled.min()), min(end, sampled.max())).sum())
    if pd.isna(used) or not answers:
        return missing("no answer came while the replicas were sampled")
    return Figure(float(used) * 1000 / answers, NAN, NAN, answers, "answers")


def _memory_at(run: Run, moments_unix_s: np.ndarray) -> pd.Series:
    """Memory of all replicas together at each moment, in bytes; NaN where one of them was not sampled around it.

    A replica counts from its first to its last sample, and together with the one that took its name and place.
    """
    each = []
    for replica, own in run.samples.dropna(subset=["memory_bytes"]).groupby(["replica", "replica_id"], sort=False):
        at = own["sampled_at_unix_s"].to_numpy(dtype=float)
        memory = np.interp(moments_unix_s, at, own["memory_bytes"], left=NAN, right=NAN)
        each.append(pd.DataFrame({"replica": replica[0], "moment": range(len(moments_unix_s)), "bytes": memory}))
    if not each:
        return pd.Series(NAN, index=range(len(moments_unix_s)), dtype=float)
    by_replica = pd.concat(each).groupby(["moment", "replica"])["bytes"].sum(min_count=1).unstack()
    total: pd.Series = by_replica.sum(axis=1, skipna=False)
    return total


def _memory_maximum(run: Run) -> Figure:
    start, end = run.window_unix_s
    sampled = run.samples["sampled_at_unix_s"]
    values = _memory_at(run, sampled[sampled.between(start, end)].to_numpy(dtype=float)).dropna()
    if values.empty:
        return missing("no sample in the measured phase told it")
    return Figure(float(values.max()), NAN, NAN, len(values), "samples")


def _client_traffic(answered: pd.DataFrame, seconds: float) -> Traffic:
    both = [_total(answered[name]) for name in ("request_bytes", "response_bytes")]
    return Traffic(*both, *(_a_second(one, seconds) for one in both))


def _total(values: pd.Series) -> Figure:
    if values.isna().all():
        return missing("the load generator did not count it")
    return Figure(float(values.sum()), NAN, NAN, len(values), "requests")


def _a_second(total: Figure, seconds: float) -> Figure:
    if not total.is_measured or seconds <= 0:
        return missing(total.missing or "the measured phase has no length")
    return Figure(total.value / seconds, NAN, NAN, total.n, total.of)


def _interface_traffic(run: Run, no_samples: str | None) -> Traffic:
    used = totals(run)
    reason = no_samples
    if reason is None and used["net_rx_bytes"].isna().all():
        is_process = str(run.record["replicas"].get("found")).startswith("process")
        reason = (
            "a process has no network interfaces of its own; see the client's view"
            if is_process
            else "the engine told no counters of the interfaces"
        )
    if reason is not None:
        return Traffic(*[missing(reason)] * 4)
    of = "replica" if len(used) == 1 else "replicas"
    both = [Figure(float(used[name].sum()), NAN, NAN, len(used), of) for name in ("net_rx_bytes", "net_tx_bytes")]
    return Traffic(*both, *(_a_second(one, float(used["covered_s"].max())) for one in both))
