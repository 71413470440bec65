"""What a fault of ``benchmarks.faults`` is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What was measured while a fault was there."""

    figures: Mapping[str, object]
    """What was counted, in words -> the number, with its unit in the words ("requests lost", "longest answer, ms")."""

    broken: tuple[str, ...] = ()
    """A sentence for each promise that did not hold, with its evidence."""


@dataclass(frozen=True)
class Fault:
    """A fault, what is promised while it is there, and how to measure whether that holds."""

    name: str
    """On the command line."""

    title: str
    promise: str
    """What must hold, as docs/reliability.md says it."""

    measure: Callable[[bool], Outcome]
    """Makes the fault, looks what comes of it, and cleans up. True: briefly, with few repetitions, as the tests do."""

    why_not: Callable[[], str | None]
    """What this machine lacks for it, with the remedy; None: nothing."""
