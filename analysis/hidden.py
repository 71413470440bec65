"""The CPU time that a deployment costs beside its replicas, in no container's account."""

from __future__ import annotations

import numpy as np

from analysis.frames import Run
from analysis.summary import Figure, missing

NAN = float("nan")

PARTS = {
    "Docker's proxy": ("docker_proxy_cpu_seconds",),
    "Docker's daemon, containerd": ("dockerd_cpu_seconds", "containerd_cpu_seconds"),
    "the kernel's softirq": ("softirq_cpu_seconds",),
    "the load generator": ("generator_cpu_seconds",),
}
"""What is told apart -> the columns that add up to it."""


def hidden_cpu_ms(run: Run) -> dict[str, Figure]:
    """CPU-ms an answer in the measured phase, by the names in ``PARTS``.

    Of the machine that Locust ran on, so only where the service ran there too. Softirq time is the whole machine's:
    that of other programs' traffic is in it.
    """
    return {name: _cpu_ms(run, columns) for name, columns in PARTS.items()}


def _cpu_ms(run: Run, columns: tuple[str, ...]) -> Figure:
    if not run.is_local:
        return missing("the service ran on another machine than the load generator")
    told = [name for name in columns if run.machine[name].notna().any()]
    if not told:
        return missing("nothing of the kind ran on this machine, or it was not recorded")
    start, end = run.window_unix_s
    at = [run.record["started_at_unix_s"], *run.machine["sampled_at_unix_s"]]
    used = 0.0
    for name in told:
        first, last = np.interp([start, end], at, [0.0, *run.machine[name].ffill().fillna(0.0)])
        used += last - first
    answered = run.requests[run.requests["error"] == ""]
    completed = answered["started_at_unix_s"] + answered["response_time_ms"] / 1000
    answers = int(completed.between(start, min(end, at[-1])).sum())
    if not answers:
        return missing("no answer came while the machine was sampled")
    return Figure(float(used) * 1000 / answers, NAN, NAN, answers, "answers")
