"""Tells the counters of a process of this machine, and of all that it has started, to whoever asks on standard input.

``_read_there.py`` sends this file to a python3 of another machine, so it uses nothing but the standard library, and is
for Python 3.8 and later (whose annotations are not evaluated). The first line of standard input is the process ID. Each
further line is a question, which is answered with a line of JSON. The columns and how they are read are those of
``_read_process.py``.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

PROC = Path("/proc")
SLOW_EVERY_S = 1.0
"""Between two readings of what is slow to read, as in ``_read_process.py``."""

TICKS = os.sysconf("SC_CLK_TCK")


class Tree:
    """A process and all that it has started."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._looked_at_s = float("-inf")
        self._tree = [pid]
        self._slow: dict[str, object] = {}

    def read(self) -> dict[str, object]:
        """The counters now. ``is_there`` is false if the process has ended."""
        root = _stat(self._pid)
        if root is None or root[0] in ("Z", "X"):
            return {"is_there": False}
        if time.monotonic() - self._looked_at_s >= SLOW_EVERY_S:
            self._look()
        stats = [root, *filter(None, (_stat(pid) for pid in self._tree if pid != self._pid))]
        cpu_seconds = sum(int(field) for stat in stats for field in stat[11:15]) / TICKS
        there = {"is_there": True, "started": root[19], "pids": self._tree, "read_at": time.time()}
        return {**there, "cpu_seconds": cpu_seconds, **self._slow}

    def _look(self) -> None:
        self._looked_at_s = time.monotonic()
        children: dict[int, list[int]] = {}
        for name in os.listdir(PROC):
            stat = _stat(int(name)) if name.isdecimal() else None
            if stat is not None:
                children.setdefault(int(stat[1]), []).append(int(name))
        self._tree = [self._pid]
        for pid in self._tree:  # it grows as it is walked
            self._tree += children.get(pid, [])
        threads, memory_bytes, is_pss = 0, 0, True
        for pid in self._tree:
            stat = _stat(pid)
            if stat is not None:
                own_bytes, is_own_pss = _memory_bytes(pid, int(stat[21]))
                memory_bytes, is_pss, threads = memory_bytes + own_bytes, is_pss and is_own_pss, threads + int(stat[17])
        self._slow = {"threads": threads, "memory_bytes": memory_bytes, "is_pss": is_pss}


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the name: state, parent, ... (proc(5)); None: there is no such process."""
    try:
        return (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _memory_bytes(pid: int, rss_pages: int) -> tuple[int, bool]:
    """The memory of a process, and whether it is its proportional share (PSS), else its RSS."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text(encoding="utf-8").splitlines()
        pss = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        pss = 0
    return (pss, True) if pss else (rss_pages * os.sysconf("SC_PAGE_SIZE"), False)


def main() -> None:
    tree = Tree(int(sys.stdin.readline()))
    for _ in iter(sys.stdin.readline, ""):
        received = time.time()
        told = {"node": platform.node(), "received": received, **tree.read(), "ready": time.time()}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
