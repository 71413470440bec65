"""Crowds: very many clients at once, idle ones and slow ones. What do others notice, and how much memory is used?"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.faults_crowd_client import BURST, IDLE, SLOW
from benchmarks.faults_outcome import Fault, Outcome
from benchmarks.faults_running import (
    NO_ANSWER,
    ROOT,
    Answer,
    Client,
    Running,
    by_status,
    client,
    service,
    working_folder,
)
from infra.deployments.waiting import until_true

COUNTS = {BURST: (2000, 500), IDLE: (10_000, 1000), SLOW: (1000, 100)}
"""Kind -> how many clients, in the long and in the short form."""

RATE_PER_S = 100
"""How many requests the others send."""

MOST_TIMES = 2.0
"""How many times as long as usual p99 of the others may be."""

AT_ONCE_S = 1.0
"""A refusal says when to try again, in so many seconds; so it must not come later."""

SURPLUS = 200
"""How many more clients come while as many connections are open as the service allows."""

MOST_CONNECTIONS, REQUEST_TIMEOUT_S = 10_000, 75
"""As docs/service.md says."""

BASE_BYTES, CONNECTION_BYTES = 40_000_000, 12 * 1024
"""The bound of the memory that a crowd may take: so much, and so much for each connection."""

CALLED = {BURST: "at once", IDLE: "idle", SLOW: "slow"}
EXPECTED = {BURST: {200, 503}, IDLE: {503}, SLOW: {408}}
"""Kind -> the statuses that the crowd may get."""

FEW = 3

READY_S, SETTLE_S, LATE_S = 60, 0.2, 5.0
SPARE_FILES, MOST_OTHER_FILES = 500, 80


@dataclass(frozen=True)
class Window:
    """A time in which the others were watched."""

    began_s: float
    ended_s: float

    def answers(self, all_answers: Sequence[Answer]) -> list[Answer]:
        return [answer for answer in all_answers if self.began_s <= answer.at_s < self.ended_s]


@dataclass
class Watched:
    """What came of a kind of crowd."""

    kind: str
    count: int
    usual: list[Window] = field(default_factory=list)
    coming: list[Window] = field(default_factory=list)
    """While the crowd opened its connections."""

    crowded: list[Window] = field(default_factory=list)
    answered: dict[int, list[float]] = field(default_factory=dict)
    """What the crowd was answered: status -> ms."""

    before_bytes: int = 0
    most_bytes: list[int] = field(default_factory=list)
    """The most memory of the service, each time that the crowd came."""

    def add(self, answered: Mapping[int, Sequence[float]]) -> None:
        for status, times_ms in answered.items():
            self.answered.setdefault(status, []).extend(times_ms)


def measure(short: bool) -> Outcome:
    with (
        working_folder() as folder,
        service(folder, folder / "metrics.csv") as running,
        client(running.port, RATE_PER_S) as asking,
    ):
        until_true(lambda: len(asking.answers) >= RATE_PER_S, READY_S)  # it has warmed up
        watched = [_watch(kind, counts[int(short)], running, asking, short) for kind, counts in COUNTS.items()]
        parts = [judged(each, asking.answers) for each in watched]
        said = running.said()
    broken = [sentence for part in parts for sentence in part.broken]
    if "Traceback" in said:
        broken.append("The service's log has a traceback.")
    return Outcome({words: value for part in parts for words, value in part.figures.items()}, tuple(broken))


def _watch(kind: str, count: int, running: Running, asking: Client, short: bool) -> Watched:
    """Let a crowd come and go, so that the others are watched by turns with it and without it."""
    found = Watched(kind, count)
    times, each_s = (2, 1.0) if short else (6, 5.0)
    found.before_bytes = _memory_bytes(running)
    for number in range(times):
        found.usual.append(_window(each_s))
        began_s = time.monotonic()
        with _most_memory(running, found.most_bytes), _crowd(kind, running.port, count) as crowd:
            _until_open(running, lambda files: files >= count)
            found.coming.append(Window(began_s, time.monotonic()))
            if kind == BURST:
                began_s = time.monotonic()
                found.add(_end(crowd, "go"))
                found.crowded.append(Window(began_s, time.monotonic()))
            else:
                found.crowded.append(_window(each_s))
            if kind == IDLE and count == MOST_CONNECTIONS:
                found.add(_end(crowd, str(SURPLUS)))
            if kind == SLOW and not short and number == times - 1:
                time.sleep(REQUEST_TIMEOUT_S + LATE_S - each_s)
                found.add(_end(crowd, "enough"))
        _until_open(running, lambda files: files < MOST_OTHER_FILES)
    return found


def _until_open(running: Running, condition: Callable[[int], bool]) -> None:
    """Wait until the service has so many files open, and is idle again: it accepts connections after they are made."""
    import psutil

    process = psutil.Process(running.process.pid)
    if not until_true(lambda: condition(process.num_fds()), READY_S):
        raise RuntimeError(f"the service has {process.num_fds()} files open after {READY_S} s")
    time.sleep(SETTLE_S)


def _window(length_s: float) -> Window:
    began_s = time.monotonic()
    time.sleep(length_s)
    return Window(began_s, began_s + length_s)


@contextmanager
def _crowd(kind: str, port: int, count: int) -> Iterator[subprocess.Popen[str]]:
    """A crowd in a process of its own, whose connections are all open."""
    command = [sys.executable, "-m", "benchmarks.faults_crowd_client", kind, str(port), str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
        try:
            opened = _line_of(crowd)
            if opened != str(count):
                raise OSError(f"only {opened or 'no'} of {count} connections could be opened")
            yield crowd
        finally:
            crowd.kill()


def _end(crowd: subprocess.Popen[str], words: str) -> dict[int, list[float]]:
    """Tell a crowd what it waits for; what it was answered."""
    if crowd.stdin is not None:
        crowd.stdin.write(f"{words}\n")
        crowd.stdin.flush()
    return {int(status): times_ms for status, times_ms in json.loads(_line_of(crowd)).items()}


def _line_of(crowd: subprocess.Popen[str]) -> str:
    return crowd.stdout.readline().strip() if crowd.stdout is not None else ""


@contextmanager
def _most_memory(running: Running, found: list[int]) -> Iterator[None]:
    """Add the most memory that a service uses meanwhile."""
    over, seen = threading.Event(), [_memory_bytes(running)]

    def look() -> None:
        while not over.wait(0.1):
            seen.append(_memory_bytes(running))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        found.append(max(seen))


def _memory_bytes(running: Running) -> int:
    import psutil

    return int(psutil.Process(running.process.pid).memory_info().rss)


def p99_ms(answers: Sequence[Answer]) -> float:
    times_s = sorted(answer.took_s for answer in answers)
    return times_s[math.ceil(len(times_s) * 0.99) - 1] * 1000 if times_s else math.nan


def p99s_ms(windows: Sequence[Window], answers: Sequence[Answer]) -> list[float]:
    return [p99_ms(window.answers(answers)) for window in windows]


def is_over(usual_ms: Sequence[float], crowded_ms: Sequence[float]) -> bool:
    """Whether p99 with the crowd is more than MOST_TIMES the usual.

    With fewer than FEW windows a single disturbance could decide. Then only what all of them say counts.
    """
    if len(crowded_ms) < FEW:
        return min(crowded_ms) > MOST_TIMES * max(usual_ms)
    return statistics.median(crowded_ms) > MOST_TIMES * statistics.median(usual_ms)


def judged(found: Watched, answers: Sequence[Answer]) -> Outcome:
    """What came of a kind of crowd. ``answers`` are those of the others."""
    crowd = f"{found.count:,} {CALLED[found.kind]}"
    usual_ms, crowded_ms = p99s_ms(found.usual, answers), p99s_ms(found.crowded, answers)
    coming = [answer for window in found.coming for answer in window.answers(answers)]
    own = [answer for window in found.crowded for answer in window.answers(answers)]
    grown_bytes = max(found.most_bytes) - found.before_bytes
    bound_bytes = BASE_BYTES + found.count * CONNECTION_BYTES
    figures: dict[str, object] = {
        f"{crowd}: p99 of others usually, ms": statistics.median(usual_ms),
        f"{crowd}: p99 of others with them, ms": statistics.median(crowded_ms),
        f"{crowd}: slowest of others while they connect, ms": max((each.took_s * 1000 for each in coming), default=0.0),
        f"{crowd}: answers to others": by_status(own),
        f"{crowd}: memory more, first and last time, MB": ", ".join(
            f"{(found.most_bytes[number] - found.before_bytes) / 1e6:.0f}" for number in (0, -1)
        ),
        f"{crowd}: its bound, MB": round(bound_bytes / 1e6),
    }
    broken = []
    if found.kind != BURST and is_over(usual_ms, crowded_ms):
        usual, crowded = (f"{statistics.median(times_ms):.1f} ms" for times_ms in (usual_ms, crowded_ms))
        broken.append(f"With {crowd}, p99 of others is {crowded} instead of {usual}.")
    if grown_bytes > bound_bytes:
        broken.append(f"With {crowd}, the service needs {grown_bytes / 1e6:.0f} MB more.")
    allowed = (200, 503) if found.kind == BURST else (200,)
    if wrong := [answer for answer in own if answer.status not in allowed]:
        broken.append(f"With {crowd}, others did not get their answers ({by_status(wrong)}).")
    return Outcome(figures | _figures_of_crowd(found, crowd), (*broken, *_broken_to_crowd(found, crowd)))


def _figures_of_crowd(found: Watched, crowd: str) -> dict[str, Any]:
    if not found.answered:
        return {}
    counts = {status: len(times_ms) for status, times_ms in sorted(found.answered.items()) if times_ms}
    figures: dict[str, Any] = {
        f"{crowd}: answers to them": ", ".join(
            f"{status or 'no answer'}: {count:,}" for status, count in counts.items()
        )
    }
    for status in counts:
        figures[f"{crowd}: slowest {status or 'no answer'}, s"] = max(found.answered[status]) / 1000
    return figures


def _broken_to_crowd(found: Watched, crowd: str) -> list[str]:
    """What of its promises to the crowd itself the service did not keep."""
    broken = []
    if left := len(found.answered.get(NO_ANSWER, ())):
        broken.append(f"Of {crowd}, {left} got no answer.")
    if (slowest_s := max(found.answered.get(503, [0.0])) / 1000) > AT_ONCE_S:
        broken.append(f"With {crowd}, the slowest 503 took {slowest_s:.2f} s.")
    if (slowest_s := max(found.answered.get(408, [0.0])) / 1000) > REQUEST_TIMEOUT_S + LATE_S:
        broken.append(f"With {crowd}, the slowest 408 took {slowest_s:.0f} s.")
    other = {status for status, times_ms in found.answered.items() if times_ms and status != NO_ANSWER}
    if other := other - EXPECTED[found.kind]:
        broken.append(f"With {crowd}, some of them got {', '.join(map(str, sorted(other)))}.")
    return broken


def why_not() -> str | None:
    import resource

    if sys.platform != "linux":
        return "the crowd is measured on Linux only"
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MOST_CONNECTIONS + SURPLUS + SPARE_FILES
    if most != resource.RLIM_INFINITY and most < needed:
        return (
            f"a process may have {most} files open, and {needed} are needed; raise the hard limit (ulimit -Hn {needed})"
        )
    return None


CROWD = Fault(
    "crowd",
    "2,000 requests at once, 10,000 idle connections, 1,000 clients that send a byte a second",
    "p99 of others at most twice the usual (with 2,000 at once: an answer or 503, as all get); "
    f"surplus gets 503 within {AT_ONCE_S:g} s, a request that is too slow 408 after {REQUEST_TIMEOUT_S} s; "
    f"memory: at most {BASE_BYTES // 10**6} MB and {CONNECTION_BYTES // 1024} KiB for each connection",
    measure,
    why_not,
)
