"""What a deployment used while the load was at others: it should be next to nothing."""

from __future__ import annotations

import numpy as np

from analysis.measure.quantity import Estimate, missing
from analysis.read.blocks import on_generators_clock, total_growth
from analysis.read.runs import Run
from runfiles.events import WAITING


def idle_cpu_percent(run: Run) -> Estimate:
    """CPU percent (100 = one core) of all replicas together, over the time in which the load was at other deployments.

    A stretch of waiting gives what the counter grew by from its first to its last sample.
    """
    if run.axis is None:
        return missing("the load came in one piece")
    recorded = run.as_recorded
    waiting = recorded.samples[(recorded.samples["phase"] == WAITING).to_numpy()].dropna(subset=["cpu_seconds"])
    began = recorded.blocks["began_at_unix_s"].to_numpy()
    percent, samples = 0.0, 0
    for _, own in waiting.groupby("replica_id", sort=False, observed=True):
        in_order = own.sort_values("read_at_unix_s")
        at, used = on_generators_clock(in_order), total_growth(in_order["cpu_seconds"].to_numpy(dtype=float))
        stretch = np.searchsorted(began, in_order["sampled_at_unix_s"].to_numpy())
        is_same = np.diff(stretch) == 0
        waited_s = float(np.diff(at)[is_same].sum())
        if not waited_s:
            return missing("too few samples while the load was elsewhere")
        percent += float(np.diff(used)[is_same].sum()) / waited_s * 100
        samples += len(own)
    if not samples:
        return missing("the load was never elsewhere, or the replicas were not sampled then")
    return Estimate(percent, samples, "samples", which="while the load was elsewhere")
