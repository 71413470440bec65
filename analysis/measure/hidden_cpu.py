"""The CPU time that a deployment costs beside its replicas, in no container's account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.read.results import Run

NAN = float("nan")

PARTS = {
    "hidden_proxy_cpu_ms": ("docker_proxy_cpu_seconds",),
    "hidden_daemon_cpu_ms": ("dockerd_cpu_seconds", "containerd_cpu_seconds"),
    "hidden_softirq_cpu_ms": ("softirq_cpu_seconds",),
    "hidden_generator_cpu_ms": ("generator_cpu_seconds",),
}
"""Key of the figure -> the columns that add up to it."""


SLACK_S = 2.0
"""The machine is sampled once a second: by so much may its samples end before the run."""


@dataclass(frozen=True)
class HiddenCpu:
    """CPU time an answer in the measured phase, or the ``reason`` why it is not known. ``is_whole``: the samples of the
    machine cover the whole phase."""

    cpu_ms: float = NAN
    answers: int = 0
    is_whole: bool = True
    reason: str = ""


def hidden_cpu_ms(run: Run) -> dict[str, HiddenCpu]:
    """CPU-ms an answer in the measured phase, by the keys of ``PARTS``.

    Of the machine that Locust ran on, so only where the service ran there too. Softirq time is the whole machine's:
    that of other programs' traffic is in it.
    """
    return {key: _cpu_ms(run, columns) for key, columns in PARTS.items()}


def _cpu_ms(run: Run, columns: tuple[str, ...]) -> HiddenCpu:
    if not run.is_local:
        return HiddenCpu(reason="the service ran on another machine than the load generator")
    told = [run.machine[["sampled_at_unix_s", name]].dropna() for name in columns if run.machine[name].notna().any()]
    if not told:
        return HiddenCpu(reason="nothing of the kind ran on this machine, or it was not recorded")
    start, end = run.window_unix_s
    last = min(end, *(each["sampled_at_unix_s"].iloc[-1] for each in told))
    used = 0.0
    for each in told:
        at, seconds = each.to_numpy().T
        before, after = np.interp([start, last], [run.record.started_at_unix_s, *at], [0.0, *seconds])
        used += after - before
    finished = run.answered_unix_s
    answers = int(((finished >= start) & (finished <= last)).sum())
    if not answers:
        return HiddenCpu(reason="no answer came while the machine was sampled")
    return HiddenCpu(float(used) * 1000 / answers, answers, last >= end - SLACK_S)
