"""CPU sets: which processors the service or the load generator may use, such as ``0`` or ``0-1,3``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

from infra.deployments.docker_engine import Engine

MOST_CPUS = 8192
"""As many as Linux can be built for (NR_CPUS); a set that names a higher number is a slip."""

FORM = "a set of processors, such as 0 or 0-1,3"


def cpuset(text: str) -> frozenset[int]:
    """The numbers of the processors that a CPU set names, in the form of the kernel, Docker and taskset.

    Raises:
        ValueError: it is none; the message says what would be right.
    """
    named: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        if not found:
            raise ValueError(FORM)
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise ValueError(f"{FORM} (a range goes from the lower number to the higher)")
        if last >= MOST_CPUS:
            raise ValueError(f"{FORM}, with numbers below {MOST_CPUS}")
        named.update(range(first, last + 1))
    return frozenset(named)


def why_not_pinned(cpus: str | None) -> str | None:
    """Why a process of this machine can't be pinned to a CPU set. None if it can, or if there is no set."""
    if cpus is None:
        return None
    if not hasattr(os, "sched_setaffinity"):
        return (
            f"this system can't pin a process to the processors {cpus}, only Linux can; "
            "leave generator_cpus and service_cpus out and run again"
        )
    return why_missing(cpus, os.sched_getaffinity(0), "this process may use")


def why_containers_not_pinned(cpus: str | None, engine: Engine) -> str | None:
    """Why an engine can't pin a container to a CPU set. None if it can, if it does not tell, or if there is no set."""
    if cpus is None:
        return None
    if engine.client.info().get("CPUSet") is False:
        return (
            f"the engine can't pin a container to the processors {cpus}: its kernel or its user lacks the cpuset "
            "control group (docker info warns of it); leave service_cpus out and run again"
        )
    if engine.cpu_count is None:
        return None
    return why_missing(cpus, range(engine.cpu_count), "the engine's machine has")


def preexec_pin(cpus: str | None) -> Callable[[], None] | None:
    """What pins a new process, as ``preexec_fn`` of ``subprocess.Popen``. None: the process may use what this one may.

    Raises:
        ValueError: it is no CPU set.
    """
    if cpus is None:
        return None
    numbers = cpuset(cpus)
    return lambda: os.sched_setaffinity(0, numbers)


def why_missing(cpus: str, there: Iterable[int], who: str) -> str | None:
    """Why a CPU set can't be had where there are only the processors ``there``. None if it can."""
    missing = cpuset(cpus) - frozenset(there)
    if not missing:
        return None
    return f"there is no processor {shown(missing)} of {cpus}; {who} {shown(there)}; choose from these and run again"


def shown(numbers: Iterable[int]) -> str:
    """Processors as a CPU set, in its shortest form."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
