"""How many processors this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def compute_threads(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """How many threads may compute: one for each processor that this process may use, or for each CPU of the limit of
    its control group, if that is less.

    A limit of 1.8 CPUs gives two threads, a limit of 0.6 CPUs one. More threads would use up the quota sooner, and then
    all of them would stand still for the rest of the period.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(processors, cpu_limit(root, membership))))


def cpu_limit(root: Path, membership: Path) -> float:
    """The smallest CPU limit of the control group and of the groups above it, in cores; infinite if there is none.

    Sources: cpu.max in the kernel's cgroup-v2.rst, cpu.cfs_quota_us in its sched-bwc.rst.
    """
    limits = [math.inf]
    for folder in _folders(root, membership):
        try:
            if (folder / "cpu.max").is_file():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = (
                    (folder / name).read_text().strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                )
            if quota not in ("max", "-1"):
                limits.append(int(quota) / int(period))
        except (OSError, ValueError):
            continue  # there is no such limit, or this process may not read it
    return min(limits)


def _folders(root: Path, membership: Path) -> list[Path]:
    """The folders of the control group and of the groups above it, as far as this process sees them."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        own = Path(path.lstrip("/"))
        found += [top / group for group in (own, *own.parents)]
    return found
