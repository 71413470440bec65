"""How much of the machine is this process's own."""

from __future__ import annotations

import math
import os
from pathlib import Path


def compute_threads(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """How many threads may compute: the processors this process may use, or its control group's CPU limit, if less.

    A limit of 1.8 CPUs gives two threads, one of 0.6 a single one: more would spend the quota sooner and then stand
    still, all of them, for the rest of each period.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(processors, cpu_limit(root, membership))))


def cpu_limit(root: Path, membership: Path) -> float:
    """The CPU limit of the control group and those above it, in cores; infinite where there is none.

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
            continue  # no such limit here, or not ours to read
    return min(limits)


def _folders(root: Path, membership: Path) -> list[Path]:
    """The folders of the control group and of those above it, as far as they are to be seen from here."""
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
        found += [top / one for one in (own, *own.parents)]
    return found
