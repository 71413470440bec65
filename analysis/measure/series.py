"""What a run's rows show over time: answers, CPU, memory and bytes in each second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from analysis.measure.quantity import NAN
from analysis.read.blocks import on_generators_clock, total_growth
from analysis.read.runs import Run

COUNTERS = ("cpu_seconds", "net_rx_bytes", "net_tx_bytes")
LEAST_COVERED_S = 0.5
"""A second gives a rate only if samples cover this much of it."""

SLACK_SHARE = 0.1
"""A counter may lack values for this share of an interval that samples cover, but for no longer than the time between
``SLACK_SAMPLES`` samples."""
TINY_S = 1e-6

SLACK_SAMPLES = 2
"""A replica's samples may begin late or end early by the time between this many samples."""

ANSWERS_AT_ONCE = 2**20
"""Answers are counted in pieces: there may be many millions."""

RUNS_AT_HAND = 32
"""The series of this many runs are kept, because estimates, findings and charts all use them. Nothing changes them."""


@lru_cache(RUNS_AT_HAND)
def throughput_per_second(run: Run) -> pd.Series:
    """Answers completed in each whole second of the measured phase, seconds without any included as 0.

    An answer counts in the second in which it came, so answers to the last requests of the warm-up are included.
    """
    start, end = run.window_unix_s
    seconds = int(end - start)
    counts = np.zeros(seconds, dtype=int)
    for first in range(0, len(run.answered_unix_s), ANSWERS_AT_ONCE):
        completed = run.answered_unix_s[first : first + ANSWERS_AT_ONCE] - start
        inside = completed[(completed >= 0) & (completed < seconds)].astype(int)
        counts += np.bincount(inside, minlength=seconds)
    return pd.Series(counts)


def growth(run: Run, edges_unix_s: np.ndarray) -> pd.DataFrame:
    """By how much each replica's counters grew between each edge and the next.

    A counter is assumed to grow evenly between two samples, so an interval gets the part of the growth that lies in it,
    however far apart the samples are. Samples without a value of the counter are left out. If a counter fell, the
    replica restarted, and the counter shows what was used since. Before a replica's first sample and after its last
    nothing is assumed.

    Returns:
        One row a replica and interval: ``replica``, ``interval`` (from 0), ``covered_s`` (how much of it lies between
        the first and the last sample), ``cpu_seconds``, ``net_rx_bytes``, ``net_tx_bytes`` (NaN: not measured).
    """
    tables = []
    for replica in _counted(run):
        edges = np.clip(edges_unix_s, replica.at_unix_s[0], replica.at_unix_s[-1])
        covered = np.diff(edges)
        table = pd.DataFrame({"replica": replica.name, "interval": range(len(covered)), "covered_s": covered})
        slack = np.minimum(SLACK_SAMPLES * np.median(np.diff(replica.at_unix_s)), SLACK_SHARE * covered)
        for name, (at, total) in replica.totals.items():
            if len(at) < 2:
                table[name] = NAN
                continue
            grown = np.diff(np.interp(edges, at, total))
            lacking = covered - np.diff(np.clip(edges, at[0], at[-1]))
            table[name] = np.where(lacking > slack + TINY_S, NAN, grown)
        tables.append(table[table["covered_s"] > 0])
    if not tables:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in ("replica", "interval", "covered_s", *COUNTERS)})
    sums: pd.DataFrame = pd.concat(tables).groupby(["replica", "interval"], as_index=False).sum(min_count=1)
    return sums


@dataclass(frozen=True)
class _Counted:
    """One replica: when it was sampled and, for each counter, when it was read and how much it had grown by then."""

    name: str
    at_unix_s: np.ndarray
    totals: Mapping[str, tuple[np.ndarray, np.ndarray]]


@lru_cache(RUNS_AT_HAND)
def _counted(run: Run) -> list[_Counted]:
    found = []
    for _, own in run.samples.groupby("replica_id", sort=False, observed=True):
        at, samples = _on_generators_clock(own)
        if len(at) < 2:
            continue
        totals = {}
        for name in COUNTERS:
            is_told = samples[name].notna().to_numpy()
            totals[name] = (at[is_told], total_growth(samples[name].to_numpy(dtype=float)[is_told]))
        found.append(_Counted(own["replica"].iloc[0], at, totals))
    return found


def replica_names(run: Run) -> list[str]:
    """All replicas that were sampled or, by the run's record, should have been."""
    listed = [replica.name for replica in run.record.replicas.list]
    return list(dict.fromkeys([*listed, *map(str, run.samples["replica"].unique())]))


@dataclass(frozen=True)
class Coverage:
    """The part of the measured phase that samples cover: ``covered_s`` of its ``phase_s`` seconds, from
    ``start_unix_s`` on. ``is_whole``: what is missing is no longer than the time between two samples explains."""

    start_unix_s: float
    covered_s: float
    phase_s: float
    is_whole: bool

    @property
    def end_unix_s(self) -> float:
        return self.start_unix_s + self.covered_s

    def __str__(self) -> str:
        return f"samples cover {round(self.covered_s, 1):g} of {round(self.phase_s, 1):g} s"


@lru_cache(RUNS_AT_HAND)
def coverage(run: Run) -> dict[str, Coverage]:
    """How much of the measured phase the samples of each replica cover, by its name. It is nothing for a replica with
    fewer than two samples."""
    start, end = run.window_unix_s
    found = {name: Coverage(start, 0.0, end - start, False) for name in replica_names(run)}
    own: dict[str, list[np.ndarray]] = {}
    for replica in _counted(run):
        own.setdefault(replica.name, []).append(replica.at_unix_s)
    for name, times in own.items():
        first, last = min(at[0] for at in times), max(at[-1] for at in times)
        apart = max(np.median(np.diff(at)) for at in times)
        slack = SLACK_SAMPLES * max(float(apart), run.record.replicas.interval_s or 0)
        begins = min(max(start, first), end)
        covered = max(0.0, min(end, last) - begins)
        found[name] = Coverage(begins, covered, end - start, end - start - covered <= slack)
    return found


def covered_together(run: Run) -> Coverage:
    """The part of the measured phase in which all replicas were sampled; it may be empty."""
    start, end = run.window_unix_s
    parts = coverage(run).values()
    first = max((part.start_unix_s for part in parts), default=start)
    covered = max(0.0, min((part.end_unix_s for part in parts), default=start) - first)
    return Coverage(first, covered, end - start, all(part.is_whole for part in parts) and covered > 0)


@lru_cache(RUNS_AT_HAND)
def rates_per_second(run: Run) -> pd.DataFrame:
    """What each replica used in each whole second of the measured phase, per second.

    Columns: ``replica``, ``second``, ``cpu_seconds``, ``net_rx_bytes``, ``net_tx_bytes``.
    """
    start, end = run.window_unix_s
    grown = growth(run, start + np.arange(int(end - start) + 1))
    grown = grown[grown["covered_s"] >= LEAST_COVERED_S].rename(columns={"interval": "second"})
    rates = grown[list(COUNTERS)].div(grown["covered_s"], axis=0)
    return pd.concat([grown[["replica", "second"]], rates], axis=1)


@lru_cache(RUNS_AT_HAND)
def totals(run: Run) -> pd.DataFrame:
    """What each replica used in the whole measured phase: as ``growth``, with a row for each replica, by its name."""
    return growth(run, np.array(run.window_unix_s)).set_index("replica")


@lru_cache(RUNS_AT_HAND)
def cpu_per_second(run: Run) -> pd.Series:
    """CPU percent (100 = one core) of all replicas together, in each second of the measured phase that covers all."""
    each = rates_per_second(run).pivot(index="second", columns="replica", values="cpu_seconds")
    percent: pd.Series = each.reindex(columns=replica_names(run)).dropna().sum(axis=1) * 100
    return percent


@lru_cache(RUNS_AT_HAND)
def memory_per_second(run: Run) -> pd.Series:
    """Memory of all replicas together in the middle of each second of the measured phase, in bytes."""
    start, end = run.window_unix_s
    return memory_at(run, start + 0.5 + np.arange(int(end - start)))


def is_memory_told(run: Run) -> bool:
    """Whether each replica's samples have its memory, from the first to the last."""
    for _, own in run.samples.groupby("replica_id", sort=False, observed=True):
        at = own["sampled_at_unix_s"].to_numpy()
        told = at[own["memory_bytes"].notna().to_numpy()]
        slack = SLACK_SAMPLES * float(np.median(np.diff(at))) if len(at) > 1 else 0.0
        if not len(told) or max(told[0] - at[0], at[-1] - told[-1]) > slack:
            return False
    return True


def network_per_second(run: Run) -> pd.DataFrame:
    """Bytes a second through each replica's interfaces: columns ``replica``, ``second``, ``bytes_per_s``."""
    rates = rates_per_second(run)
    return rates[["replica", "second"]].assign(bytes_per_s=rates["net_rx_bytes"] + rates["net_tx_bytes"])


def memory_at(run: Run, moments_unix_s: np.ndarray) -> pd.Series:
    """Memory of all replicas together at each moment, in bytes; NaN if a replica was not sampled around it.

    A replica counts from its first to its last sample. If another took its name and place, both count as one.
    """
    by_name: dict[str, np.ndarray] = {}
    for name, at, memory in _memory(run):
        own = np.interp(moments_unix_s, at, memory, left=NAN, right=NAN)
        before = by_name.get(name)
        by_name[name] = own if before is None else np.where(np.isnan(before), own, before + np.nan_to_num(own))
    nothing = np.full(len(moments_unix_s), NAN)
    is_told = bool(by_name) and set(by_name) == set(replica_names(run))
    return pd.Series(np.sum([*by_name.values()], axis=0) if is_told else nothing)


@lru_cache(RUNS_AT_HAND)
def _memory(run: Run) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """For each replica: its name, when it was sampled, and its memory in bytes then."""
    told = run.samples.dropna(subset=["memory_bytes"])
    return [
        (str(name), own["sampled_at_unix_s"].to_numpy(), own["memory_bytes"].to_numpy())
        for (name, _), own in told.groupby(["replica", "replica_id"], sort=False, observed=True)
    ]


def _on_generators_clock(samples: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """When one replica's counters were read, by the load generator's clock, and the samples in that order."""
    own = samples.dropna(subset=["cpu_seconds"]).sort_values("read_at_unix_s").drop_duplicates("read_at_unix_s")
    return on_generators_clock(own), own
