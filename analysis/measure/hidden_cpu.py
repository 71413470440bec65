"""The CPU time that a deployment costs outside its replicas: no replica's statistics show it."""

from __future__ import annotations

import numpy as np

from analysis.measure.quantity import REVERSE_PROXY, Estimate, missing
from analysis.read.runs import Run

PARTS = {
    "hidden_proxy_cpu_ms": ("docker_proxy_cpu_seconds",),
    REVERSE_PROXY: ("reverse_proxy_cpu_seconds",),
    "hidden_daemon_cpu_ms": ("dockerd_cpu_seconds", "containerd_cpu_seconds"),
    "hidden_softirq_cpu_ms": ("softirq_cpu_seconds",),
    "hidden_generator_cpu_ms": ("generator_cpu_seconds",),
}
"""Key of the quantity -> the columns that add up to it."""

TICK_MS = 10.0
"""The system counts CPU time in steps of this size."""
SLACK_S = 2.0
"""The samples of the machine, one a second, may end this long before the run."""


def hidden_cpu(run: Run) -> dict[str, Estimate]:
    """CPU-ms per answer in the measured phase, by the keys of ``PARTS``.

    It is measured on the machine that Locust ran on, so only if the service ran there too. Softirq time is the whole
    machine's and includes that of other programs' traffic.
    """
    return {key: _cpu_ms(run, columns) for key, columns in PARTS.items()}


def _cpu_ms(run: Run, columns: tuple[str, ...]) -> Estimate:
    if not run.is_local:
        return missing("the service ran on another machine than the load generator")
    told = [run.machine[["sampled_at_unix_s", name]].dropna() for name in columns if run.machine[name].notna().any()]
    if not told:
        return missing(
            "the machine was not sampled" if run.machine.empty else "no such program was found on this machine"
        )
    start, end = run.window_unix_s
    last = min(end, *(counter["sampled_at_unix_s"].iloc[-1] for counter in told))
    used = 0.0
    for counter in told:
        at, seconds = counter.to_numpy().T
        before, after = np.interp([start, last], [run.record.started_at_unix_s, *at], [0.0, *seconds])
        used += after - before
    finished = run.answered_unix_s
    answers = int(((finished >= start) & (finished <= last)).sum())
    if not answers:
        return missing("no answer came while the machine was sampled")
    cpu_ms = float(used) * 1000 / answers
    which = "that came while the machine was sampled"
    return Estimate(cpu_ms, answers, "answers", is_part=last < end - SLACK_S, which=which, tick=TICK_MS)
