"""From frames to figures: each with the number it was computed from and a 95% interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import runfiles
from analysis.frames import Deployment, Run

CONFIDENCE = 0.95
NAN = float("nan")


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
class ReplicaShare:
    """One replica's part in a run: answers, and bytes through its interfaces; shares are 0 to 1."""

    name: str
    requests: int
    request_share: float
    received_bytes: float
    sent_bytes: float
    byte_share: float


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
    """The mean with its t interval; ``reason`` says why there is none when ``values`` is empty."""
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return missing(reason)
    value = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0:
        return Figure(value, NAN, NAN, len(values), of)
    low, high = stats.t.interval(CONFIDENCE, len(values) - 1, loc=value, scale=stats.sem(values))
    return Figure(value, float(low), float(high), len(values), of)


def summarize(run: Run) -> RunSummary:
    """All figures of one run."""
    measured = run.measured
    answered = measured[measured["error"] == ""]
    times = answered["response_time_ms"].to_numpy()
    start, end = run.window_unix_s
    rates = replica_rates(run)
    per_second = throughput_per_second(answered, start, end)
    used = rates["cpu_seconds"].sum(min_count=1)
    rest = times - answered["queue_ms"].to_numpy() - answered["inference_ms"].to_numpy()
    why_no_samples = _why_no_samples(run)
    cpu = cpu_per_second(rates)
    return RunSummary(
        requests=len(measured),
        failures=len(measured) - len(answered),
        seconds=end - start,
        latency=Latency(*(quantile(times, q) for q in (0.5, 0.95, 0.99))),
        throughput=mean(per_second.to_numpy(dtype=float), "seconds", "the measured phase is shorter than a second"),
        queue_ms=_median_told(answered["queue_ms"].to_numpy()),
        inference_ms=_median_told(answered["inference_ms"].to_numpy()),
        rest_ms=_median_told(rest),
        cpu_percent=mean(cpu.to_numpy(dtype=float), "seconds", why_no_samples),
        cpu_ms_per_request=(
            missing(why_no_samples)
            if pd.isna(used) or not len(answered)
            else Figure(float(used) * 1000 / len(answered), NAN, NAN, len(answered), "requests")
        ),
        memory_mean_bytes=mean(_memory(run).to_numpy(dtype=float), "seconds", why_no_samples),
        memory_max_bytes=_maximum(_memory(run), why_no_samples),
        client_traffic=Traffic(_total(answered["request_bytes"]), _total(answered["response_bytes"])),
        interface_traffic=_interface_traffic(rates, why_no_samples),
    )


def throughput_per_second(answered: pd.DataFrame, start: float, end: float) -> pd.Series:
    """Answers completed in each whole second of the measured phase, seconds without any included as 0."""
    seconds = int(end - start)
    completed = answered["started_at_unix_s"] + answered["response_time_ms"] / 1000 - start
    counts: pd.Series = np.floor(completed).astype(int).value_counts()
    return counts.reindex(range(seconds), fill_value=0)


def replica_rates(run: Run) -> pd.DataFrame:
    """What each replica used between one sample and the next, in the measured phase.

    Columns: ``replica``, ``second`` (since the measured phase began), ``elapsed_s``, and the increase of
    ``cpu_seconds``, ``net_rx_bytes`` and ``net_tx_bytes``. Where a counter fell the replica was started anew, and the
    counter itself is what it used since.
    """
    samples = run.samples.sort_values(["replica_id", "read_at_unix_s"])
    grouped = samples.groupby("replica_id", sort=False)
    rates = pd.DataFrame({"replica": samples["replica"], "phase": samples["phase"]})
    rates["second"] = np.floor(samples["sampled_at_unix_s"] - run.window_unix_s[0])
    rates["elapsed_s"] = grouped["read_at_unix_s"].diff()
    for name in ("cpu_seconds", "net_rx_bytes", "net_tx_bytes"):
        increase = grouped[name].diff()
        rates[name] = increase.where(~(increase < 0), samples[name])
    return rates[(rates["phase"] == runfiles.MEASURED) & (rates["elapsed_s"] > 0)]


def cpu_per_second(rates: pd.DataFrame) -> pd.Series:
    """CPU percent (100 = one core) in each second, all replicas together."""
    sums = rates.groupby(["replica", "second"])[["cpu_seconds", "elapsed_s"]].sum(min_count=1)
    percent = sums["cpu_seconds"] / sums["elapsed_s"] * 100
    return percent.groupby("second").sum(min_count=1)


def network_per_second(rates: pd.DataFrame) -> pd.DataFrame:
    """Bytes a second through each replica's interfaces: columns ``replica``, ``second``, ``bytes_per_s``."""
    both = rates.assign(bytes=rates["net_rx_bytes"] + rates["net_tx_bytes"])
    sums = both.groupby(["replica", "second"], as_index=False)[["bytes", "elapsed_s"]].sum(min_count=1)
    return sums.assign(bytes_per_s=sums["bytes"] / sums["elapsed_s"])


def replica_shares(run: Run) -> list[ReplicaShare]:
    """Who answered, and whose interfaces carried how much, in the measured phase."""
    rates = replica_rates(run)
    ids = dict(zip(run.samples["replica_id"], run.samples["replica"], strict=True))
    answered = run.measured[run.measured["error"] == ""]
    counts = answered["replica"].map(lambda name: ids.get(name, name)).value_counts()
    traffic = rates.groupby("replica")[["net_rx_bytes", "net_tx_bytes"]].sum(min_count=1)
    all_bytes = traffic.to_numpy().sum()
    shares = []
    for name in sorted(set(counts.index) | set(traffic.index)):
        requests = int(counts.get(name, 0))
        received, sent = (float(traffic[one].get(name, NAN)) for one in ("net_rx_bytes", "net_tx_bytes"))
        byte_share = (received + sent) / all_bytes if all_bytes else NAN
        shares.append(ReplicaShare(name, requests, requests / max(1, counts.sum()), received, sent, byte_share))
    return shares


def expected_largest_share(run: Run, replicas: int) -> tuple[float, str]:
    """The share of the busiest replica if connections are dealt round, and why.

    Swarm's ingress (IPVS, round-robin) balances connections. Users that keep theirs are dealt to the replicas like
    cards: of U users ceil(U / R) meet one replica. With a connection a request each replica gets 1 / R.
    """
    reused = run.measured["connection_reused"].mean()
    users = run.record.get("users") or 0
    if reused > 0.5 and users:
        share = math.ceil(users / replicas) / users
        return (
            share,
            f"{users} users keep their connections: at most {math.ceil(users / replicas)} of them on one replica",
        )
    return 1 / replicas, "each request has a connection of its own"


def ratio(figure: Figure, host: Figure, unlike: str | None) -> Ratio:
    """``figure`` over ``host``; the interval is the widest that the two intervals allow."""
    if unlike is not None or not (figure.is_measured and host.is_measured and host.value):
        return Ratio(NAN, NAN, NAN, unlike or "not measured")
    return Ratio(figure.value / host.value, figure.low / host.high, figure.high / host.low)


def why_unlike(one: Deployment, other: Deployment) -> str | None:
    """What differs between two deployments' loads that must not, if they are to be compared."""
    if one.load is None or other.load is None:
        return "not measured"
    mine, theirs = _conditions(one.load), _conditions(other.load)
    unlike = [name for name in mine if mine[name] != theirs[name]]
    return f"not compared: {', '.join(unlike)} not the same" if unlike else None


def _conditions(run: Run) -> dict[str, Any]:
    """What two runs must have in common for their figures to be comparable."""
    record = run.record
    return {
        "model": ((record.get("service") or {}).get("model") or {}).get("sha256"),
        "texts": record["texts"]["sha256"],
        "user class": record["user_class"],
        "users": record["users"],
        "run time": record["run_time_s"],
        "warm-up": record["warm_up_s"],
    }


def _median_told(values: np.ndarray) -> Figure:
    told = values[~np.isnan(values)]
    return quantile(told, 0.5) if len(told) else missing("the service did not say (Server-Timing)")


def _memory(run: Run) -> pd.Series:
    """Memory of all replicas together in each second of the measured phase, in bytes."""
    samples = run.samples[run.samples["phase"] == runfiles.MEASURED]
    second = np.floor(samples["sampled_at_unix_s"] - run.window_unix_s[0]).rename("second")
    each = samples["memory_bytes"].groupby([samples["replica_id"], second]).mean()
    return each.groupby("second").sum(min_count=1)


def _maximum(values: pd.Series, reason: str) -> Figure:
    return Figure(float(values.max()), NAN, NAN, len(values), "seconds") if len(values) else missing(reason)


def _total(values: pd.Series) -> Figure:
    if values.isna().all():
        return missing("the load generator did not count it")
    return Figure(float(values.sum()), NAN, NAN, len(values), "requests")


def _interface_traffic(rates: pd.DataFrame, why_no_samples: str) -> Traffic:
    if not len(rates):
        return Traffic(missing(why_no_samples), missing(why_no_samples))
    if rates["net_rx_bytes"].isna().all():
        reason = "a process has no network interfaces of its own; see the client's view"
        return Traffic(missing(reason), missing(reason))
    received, sent = (
        Figure(float(rates[name].sum()), NAN, NAN, len(rates), "samples") for name in ("net_rx_bytes", "net_tx_bytes")
    )
    return Traffic(received, sent)


def _why_no_samples(run: Run) -> str:
    problems = run.record["replicas"]["problems"]
    return problems[0] if problems else "no replica was sampled long enough"
