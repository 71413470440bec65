"""Lays the measured parts of a load in blocks end to end, so that what is computed of a load in one piece fits it too.

A load in blocks visits several deployments by turns. What a deployment did while the load was elsewhere belongs to no
figure. So its time is cut: the measured part of a block follows that of its block before, requests and samples move
with it, and counters lose what they grew by in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from runfiles.columns import (
    COUNTER,
    GAUGE,
    MACHINE_STATS_COLUMNS,
    REPLICA_STATS_COLUMNS,
    Column,
)
from runfiles.events import MEASURED, SETTLING

EDGES = ("began_at_unix_s", "measured_from_unix_s", "measured_to_unix_s", "ended_at_unix_s")
"""The times of a block, in their order."""


@dataclass(frozen=True, eq=False)
class Axis:
    """The time of a run without what lies between its blocks.

    ``blocks``: the numbers of its measured blocks. ``from_unix_s`` and ``to_unix_s``: their measured parts, by the load
    generator's clock, in order. The axis begins with the first of them, at its real time; ``start_unix_s`` is said for
    a run of which no block was measured.
    """

    blocks: np.ndarray
    from_unix_s: np.ndarray
    to_unix_s: np.ndarray
    start_unix_s: float

    @cached_property
    def lengths_s(self) -> np.ndarray:
        lengths: np.ndarray = self.to_unix_s - self.from_unix_s
        return lengths

    @cached_property
    def begins_unix_s(self) -> np.ndarray:
        """Where each part begins on this axis."""
        begins: np.ndarray = self.start_unix_s + np.cumsum(self.lengths_s) - self.lengths_s
        return begins

    @property
    def window_unix_s(self) -> tuple[float, float]:
        """Start and end of all parts on this axis."""
        return self.start_unix_s, self.start_unix_s + float(self.lengths_s.sum())

    def part_of(self, at_unix_s: np.ndarray) -> np.ndarray:
        """The part that a time lies in, or else the last one before it; -1 for a time before the first."""
        return np.searchsorted(self.from_unix_s, at_unix_s, side="right") - 1

    def is_inside(self, at_unix_s: np.ndarray) -> np.ndarray:
        """Whether each time lies in a measured part."""
        if not len(self.blocks):
            return np.zeros(len(at_unix_s), dtype=bool)
        part = self.part_of(at_unix_s)
        inside: np.ndarray = (part >= 0) & (at_unix_s <= self.to_unix_s[part])
        return inside

    def place(self, at_unix_s: np.ndarray) -> np.ndarray:
        """Each time on this axis. A time between two parts is where they meet; one before the first or after the last
        keeps its distance from it."""
        if not len(self.blocks):
            return at_unix_s.copy()
        edges = np.column_stack([self.from_unix_s, self.to_unix_s]).ravel()
        places = np.column_stack([self.begins_unix_s, self.begins_unix_s + self.lengths_s]).ravel()
        beyond = np.minimum(at_unix_s - edges[0], 0) + np.maximum(at_unix_s - edges[-1], 0)
        placed: np.ndarray = np.interp(at_unix_s, edges, places) + beyond
        return placed


def axis_of(blocks: pd.DataFrame, start_unix_s: float) -> Axis:
    """The axis of a run with these blocks. ``start_unix_s``: where it begins if none of them was measured."""
    measured = blocks[(blocks["phase"] == MEASURED).to_numpy()]
    numbers, begins, ends = (measured[name].to_numpy() for name in ("block", *EDGES[1:3]))
    return Axis(numbers, begins, ends, float(begins[0]) if len(begins) else start_unix_s)


def why_wrong(blocks: pd.DataFrame) -> str | None:
    """Why these can't be the blocks of one run; None if they can."""
    numbers = blocks["block"]
    if twice := sorted(numbers[numbers.duplicated()]):
        return f"block {twice[0]:g} is there twice"
    times = blocks[[*EDGES]].to_numpy()
    for place, name in enumerate(EDGES[1:]):
        if (wrong := times[:, place] > times[:, place + 1]).any():
            return f"{name} of block {numbers[wrong].iloc[0]:g} is earlier than {EDGES[place]}"
    overlaps = times[1:, 1] < times[:-1, 2]
    if overlaps.any():
        return f"block {numbers[1:][overlaps].iloc[0]:g} begins before the block before it ended"
    return None


def lay_requests(axis: Axis, requests: pd.DataFrame) -> pd.DataFrame:
    """All requests, with the time at which each was sent on the axis. A request that is marked measured, but is of no
    measured block, is not measured: its block was not finished."""
    sent = requests["started_at_unix_s"].to_numpy()
    laid = axis.place(sent)
    is_measured = (requests["phase"] == MEASURED).to_numpy()
    is_of_a_block = is_measured & requests["block"].isin(axis.blocks).to_numpy()
    order = np.argsort(axis.blocks)
    part = order[np.searchsorted(axis.blocks[order], requests["block"].to_numpy()[is_of_a_block])]
    into = np.clip(sent[is_of_a_block] - axis.from_unix_s[part], 0, axis.lengths_s[part])
    laid[is_of_a_block] = axis.begins_unix_s[part] + into
    found = requests.assign(started_at_unix_s=laid)
    if (unfinished := is_measured & ~is_of_a_block).any():
        phases = found["phase"].astype("object")
        phases[unfinished] = SETTLING
        found["phase"] = phases.astype("category")
    return found


def lay_samples(axis: Axis, samples: pd.DataFrame) -> pd.DataFrame:
    """The samples of replicas in the measured parts, and one at each edge of them."""
    parts = []
    for _, own in samples.groupby("replica_id", sort=False, observed=True):
        in_order = own.sort_values("read_at_unix_s", kind="stable").drop_duplicates("read_at_unix_s")
        laid = _lay(axis, on_generators_clock(in_order), in_order, REPLICA_STATS_COLUMNS)
        parts.append(laid.assign(read_at_unix_s=laid["sampled_at_unix_s"]))
    return _joined(samples, parts)


def lay_machine(axis: Axis, machine: pd.DataFrame) -> pd.DataFrame:
    """As ``lay_samples``, for the samples of the machine."""
    at = machine["sampled_at_unix_s"].to_numpy()
    return _joined(machine, [_lay(axis, at, machine, MACHINE_STATS_COLUMNS)] if len(at) else [])


def on_generators_clock(samples: pd.DataFrame) -> np.ndarray:
    """When one replica's counters were read, by the load generator's clock.

    The reader's clock gives exact times between reads, but it may be another machine's. So the median difference of
    the two clocks is added to its times.
    """
    apart = (samples["sampled_at_unix_s"] - samples["read_at_unix_s"]).median()
    return (samples["read_at_unix_s"] + apart).to_numpy(dtype=float)


def total_growth(counter: np.ndarray) -> np.ndarray:
    """By how much a counter had grown at each of its values. If it fell, it was reset, and shows what grew since."""
    increase = np.diff(counter, prepend=counter[:1])
    grown: np.ndarray = np.cumsum(np.where(increase < 0, counter, increase))
    return grown


def _joined(like: pd.DataFrame, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One frame of all, in the order of time."""
    told = [part for part in parts if len(part)]
    if not told:
        return like.iloc[:0]
    return pd.concat(told).sort_values("sampled_at_unix_s", kind="stable", ignore_index=True)


def _lay(axis: Axis, at_unix_s: np.ndarray, samples: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """The samples of one replica, or of the machine: those in the measured parts and, at each edge of a part, one that
    is interpolated between its neighbours. Nothing is assumed before the first sample and after the last."""
    moments = _moments(axis, at_unix_s)
    before = np.maximum(np.searchsorted(at_unix_s, moments, side="right") - 1, 0)
    laid = samples.iloc[before].copy()
    laid["sampled_at_unix_s"] = axis.place(moments)
    laid["phase"] = pd.Categorical([MEASURED] * len(moments))
    for column in columns:
        if column.is_analysed and column.kind in (COUNTER, GAUGE):
            values = samples[column.name].to_numpy(dtype=float)
            laid[column.name] = _at(axis, moments, at_unix_s, values, is_counter=column.kind == COUNTER)
    return laid


def _moments(axis: Axis, at_unix_s: np.ndarray) -> np.ndarray:
    """The times of the samples in the measured parts, and the edges of the parts, as far as there are samples around
    them. Where a part follows another, its beginning is the other's end."""
    first, last = at_unix_s[0], at_unix_s[-1]
    is_sampled = (axis.from_unix_s < last) & (axis.to_unix_s > first)
    begins, ends = (np.clip(edges[is_sampled], first, last) for edges in (axis.from_unix_s, axis.to_unix_s))
    inside = at_unix_s[axis.is_inside(at_unix_s) & ~np.isin(at_unix_s, axis.from_unix_s)]
    return np.unique(np.concatenate([begins[:1], inside, ends]))


def _at(axis: Axis, moments: np.ndarray, at_unix_s: np.ndarray, values: np.ndarray, *, is_counter: bool) -> np.ndarray:
    """A column at some moments, NaN before its first value and after its last. A counter lacks what it grew by between
    the parts."""
    is_told = ~np.isnan(values)
    at, told = at_unix_s[is_told], values[is_told]
    if not len(at):
        return np.full(len(moments), np.nan)
    if is_counter:
        told = total_growth(told)
        starts, ends = (np.interp(edges, at, told) for edges in (axis.from_unix_s, axis.to_unix_s))
        lost = np.cumsum(starts - np.concatenate([starts[:1], ends[:-1]]))
    else:
        lost = np.zeros(len(axis.blocks))
    found: np.ndarray = np.interp(moments, at, told) - lost[axis.part_of(moments)]
    found[(moments < at[0]) | (moments > at[-1])] = np.nan
    return found
