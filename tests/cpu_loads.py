"""Programs for a container that use a known sort of CPU, and the kernel's own account of what they used."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from _read_cgroup import CGROUP

BUSY = "import time\nwhile 1:\n t = time.time() + {busy}\n while time.time() < t: pass\n time.sleep({idle})"
LOADS = {
    "a fifth of a core": BUSY.format(busy=0.02, idle=0.08),
    "a whole core": "while 1: pass",
    "bursts": BUSY.format(busy=0.7, idle=1.1),
}

READ_EVERY_S = 0.002


def cpu_counter(container: Any) -> Callable[[], float]:
    """Reads the seconds of CPU in the kernel's account of the container's control group."""
    found = [
        path
        for path in CGROUP.rglob(f"*{container.id}*")
        if (path / "cpuacct.usage").exists() or (path / "cpu.stat").exists()
    ]
    if not found:
        pytest.skip("the container's control group can't be seen here")
    v1 = [path / "cpuacct.usage" for path in found if (path / "cpuacct.usage").exists()]

    def read() -> float:
        if v1:
            return int(v1[0].read_text()) / 1e9
        return int(re.findall(r"usage_usec (\d+)", (found[0] / "cpu.stat").read_text())[0]) / 1e6

    return read


class CounterRecord:
    """What a counter said every two milliseconds while the block ran, read in a thread that has nothing to do with the
    monitor."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._rows: list[tuple[float, float]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> CounterRecord:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._is_over.wait(READ_EVERY_S):
            self._rows.append((time.time(), self._read()))

    def between(self, start_unix_s: float, end_unix_s: float) -> float:
        """By how much the counter grew."""
        at, told = np.array(self._rows).T
        early, late = self._at(start_unix_s, at, told), self._at(end_unix_s, at, told)
        return late - early

    @staticmethod
    def _at(moment: float, at: NDArray[np.float64], told: NDArray[np.float64]) -> float:
        assert at[0] <= moment <= at[-1], "the record does not reach so far"
        return float(np.interp(moment, at, told))
