"""What a run's rows say of each moment: answers, response times, CPU, memory and bytes by second."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.frames import Run

NAN = float("nan")
COUNTERS = ("cpu_seconds", "net_rx_bytes", "net_tx_bytes")
LEAST_COVERED_S = 0.5
"""A second of which the samples cover less gives no rate."""


def throughput_per_second(run: Run) -> pd.Series:
    """Answers completed in each whole second of the measured phase, seconds without any included as 0.

    An answer counts when it came, so those to requests sent at the end of the warm-up are in it.
    """
    start, end = run.window_unix_s
    seconds = int(end - start)
    completed = run.finished_unix_s.to_numpy()[(run.requests["error"] == "").to_numpy()] - start
    inside = completed[(completed >= 0) & (completed < seconds)].astype(int)
    return pd.Series(np.bincount(inside, minlength=seconds))


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
    for _, own in run.samples.groupby("replica_id", sort=False, observed=True):
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
    return memory_at(run, start + 0.5 + np.arange(int(end - start)))


def network_per_second(run: Run) -> pd.DataFrame:
    """Bytes a second through each replica's interfaces: columns ``replica``, ``second``, ``bytes_per_s``."""
    rates = rates_per_second(run)
    return rates[["replica", "second"]].assign(bytes_per_s=rates["net_rx_bytes"] + rates["net_tx_bytes"])


def memory_at(run: Run, moments_unix_s: np.ndarray) -> pd.Series:
    """Memory of all replicas together at each moment, in bytes; NaN where one of them was not sampled around it.

    A replica counts from its first to its last sample, and together with the one that took its name and place.
    """
    each = []
    for replica, own in run.samples.dropna(subset=["memory_bytes"]).groupby(
        ["replica", "replica_id"], sort=False, observed=True
    ):
        at = own["sampled_at_unix_s"].to_numpy(dtype=float)
        memory = np.interp(moments_unix_s, at, own["memory_bytes"], left=NAN, right=NAN)
        each.append(pd.DataFrame({"replica": replica[0], "moment": range(len(moments_unix_s)), "bytes": memory}))
    if not each:
        return pd.Series(NAN, index=range(len(moments_unix_s)), dtype=float)
    by_replica = pd.concat(each).groupby(["moment", "replica"])["bytes"].sum(min_count=1).unstack()
    total: pd.Series = by_replica.sum(axis=1, skipna=False)
    return total


def _on_generators_clock(samples: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """When one replica's counters were read, by the load generator's clock, and the samples in that order.

    Time between reads is exact by the reader's clock, but that may be another machine's: the median of what the two
    clocks say apart is taken off.
    """
    own = samples.dropna(subset=["cpu_seconds"]).sort_values("read_at_unix_s").drop_duplicates("read_at_unix_s")
    apart = (own["sampled_at_unix_s"] - own["read_at_unix_s"]).median()
    return (own["read_at_unix_s"] + apart).to_numpy(dtype=float), own
