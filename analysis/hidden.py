"""The CPU time that a deployment costs beside its replicas, in no container's account."""

from __future__ import annotations

import numpy as np

from analysis.frames import Run

NAN = float("nan")

PARTS = {
    "hidden_proxy_cpu_ms": ("docker_proxy_cpu_seconds",),
    "hidden_daemon_cpu_ms": ("dockerd_cpu_seconds", "containerd_cpu_seconds"),
    "hidden_softirq_cpu_ms": ("softirq_cpu_seconds",),
    "hidden_generator_cpu_ms": ("generator_cpu_seconds",),
}
"""Key of the figure -> the columns that add up to it."""


def hidden_cpu_ms(run: Run) -> dict[str, tuple[float, int, str | None]]:
    """CPU-ms an answer in the measured phase, by the keys of ``PARTS``: value, answers, and why there is no value.

    Of the machine that Locust ran on, so only where the service ran there too. Softirq time is the whole machine's:
    that of other programs' traffic is in it.
    """
    return {key: _cpu_ms(run, columns) for key, columns in PARTS.items()}


def _cpu_ms(run: Run, columns: tuple[str, ...]) -> tuple[float, int, str | None]:
    if not run.is_local:
        return NAN, 0, "the service ran on another machine than the load generator"
    told = [name for name in columns if run.machine[name].notna().any()]
    if not told:
        return NAN, 0, "nothing of the kind ran on this machine, or it was not recorded"
    start, end = run.window_unix_s
    at = [run.record["started_at_unix_s"], *run.machine["sampled_at_unix_s"]]
    used = 0.0
    for name in told:
        first, last = np.interp([start, end], at, [0.0, *run.machine[name].ffill().fillna(0.0)])
        used += last - first
    finished = run.answered_unix_s
    answers = int(((finished >= start) & (finished <= min(end, at[-1]))).sum())
    if not answers:
        return NAN, 0, "no answer came while the machine was sampled"
    return float(used) * 1000 / answers, answers, None
