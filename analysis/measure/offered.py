"""How many requests an open workload of one rate should have made due, its spikes included."""

from __future__ import annotations

from analysis.read.runs import Run
from runfiles.spikes import read_spike, weighted_s


def due_between(run: Run, from_s: float, to_s: float) -> float:
    """How many requests should have been due between two moments, in s since the measured phase began; 0 in a closed
    workload."""
    if run.record.open is None:
        return 0.0
    spikes = [read_spike(text) for text in run.record.open.spikes]
    return next(iter(run.rates_per_s), 0.0) * weighted_s(spikes, from_s, to_s)
