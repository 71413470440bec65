"""Waiting until a moment, to a few hundredths of a millisecond. gevent's own timers round up to a whole one."""

from __future__ import annotations

import ctypes
import os
import sys
import time

import gevent

HAS_TIMERFD = sys.platform == "linux"
CLOCK_MONOTONIC = 1
"""The clock of ``time.perf_counter`` on Linux."""

ABSOLUTE = 1
"""TFD_TIMER_ABSTIME of timerfd_create(2). Python has these calls from 3.13 on."""

READABLE = 1
NANOSECONDS = 1_000_000_000


class _TimerSpec(ctypes.Structure):
    """``struct itimerspec``: the period, which is 0, and the moment."""

    _fields_ = [(name, ctypes.c_long) for name in ("period_s", "period_ns", "at_s", "at_ns")]


class Timer:
    """Wakes one greenlet at a time. On other systems than Linux it wakes it up to 1 ms late."""

    def __init__(self) -> None:
        self._file: int | None = None
        if HAS_TIMERFD:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._file = self._libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            if self._file < 0:
                raise OSError(ctypes.get_errno(), "no timer can be had")
            self._watcher = gevent.get_hub().loop.io(self._file, READABLE)

    def wait_until(self, at_s: float) -> None:
        """Return at ``at_s`` of ``time.perf_counter``. Other greenlets run meanwhile, also if it is past."""
        if at_s <= time.perf_counter():
            gevent.sleep(0)
        elif self._file is None:
            gevent.sleep(max(0.0, at_s - time.perf_counter()))
        else:
            seconds, nanoseconds = divmod(round(at_s * NANOSECONDS), NANOSECONDS)
            spec = _TimerSpec(0, 0, seconds, nanoseconds)
            self._libc.timerfd_settime(self._file, ABSOLUTE, ctypes.byref(spec), None)
            gevent.get_hub().wait(self._watcher)
            os.read(self._file, 8)

    def close(self) -> None:
        if self._file is not None:
            self._watcher.stop()
            self._watcher.close()
            os.close(self._file)
            self._file = None
