"""What a machine is, and whether a Docker engine runs on another one."""

from __future__ import annotations

import ipaddress
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from runfiles.fields import Address, Bytes, Cpus, Record


@dataclass(frozen=True, kw_only=True)
class Machine(Record):
    """The machine that the load generator and the host process run on. None: the machine does not tell it, or an
    earlier version did not record it."""

    node: str | None = None
    system: str | None = None
    kernel: str | None = None
    cpu_model: str | None = None
    architecture: str | None = None
    cpu_count: Cpus | None = None
    memory_bytes: Bytes | None = None


@dataclass(frozen=True, kw_only=True)
class DockerEngine(Record):
    """A Docker engine. All but endpoint and version is of the machine that it runs on, which may be a virtual one.
    ``node`` is that machine's name; earlier versions did not record it."""

    endpoint: Address | None = None
    version: str | None = None
    node: str | None = None
    kernel: str | None = None
    cpu_count: Cpus | None = None
    memory_bytes: Bytes | None = None
    architecture: str | None = None
    operating_system: str | None = None


def this_machine() -> Machine:
    """The machine that this program runs on."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    told = all(name in os.sysconf_names for name in names)
    return Machine(
        node=platform.node(),
        system=platform.system(),
        kernel=platform.release(),
        cpu_model=_cpu_model(),
        architecture=platform.machine(),
        cpu_count=os.cpu_count(),
        memory_bytes=os.sysconf(names[0]) * os.sysconf(names[1]) if told else None,
    )


@dataclass(frozen=True)
class EngineElsewhere:
    """A Docker engine that does not run on this machine itself: host process and containers ran on two machines.

    ``is_virtual``: it is reached through this machine's own loopback or socket, so it is a virtual machine here (Docker
    Desktop, Colima); else another machine. ``cpu_count`` and ``machine_cpu_count`` are those of the engine and of this
    machine, None where not told.
    """

    is_virtual: bool
    cpu_count: float | None
    machine_cpu_count: float | None

    def __str__(self) -> str:
        where = "in a virtual machine" if self.is_virtual else "on another machine"
        counts = (self.cpu_count, self.machine_cpu_count)
        if None in counts:
            return f"the engine runs {where}"
        with_cpus = "with {} of {} CPUs" if self.is_virtual else "with {} CPUs; this one has {}"
        return f"the engine runs {where} {with_cpus.format(*counts)}"


SAME_MEMORY = 0.01
"""The kernel keeps some of the memory for itself, not the same at each boot."""

ARCHITECTURES = {"arm64": "aarch64", "amd64": "x86_64"}
"""Other names of one architecture: macOS and Windows use the first ones."""


def engine_elsewhere(machine: Machine, engine: DockerEngine) -> EngineElsewhere | None:
    """Whether an engine runs on another machine than ``machine``; None where nothing shows that."""
    address = urlsplit(engine.endpoint or "unix:")
    is_virtual = address.scheme in ("unix", "npipe") or is_loopback(address.hostname or "")
    # Two machines of one type differ in their names alone. An engine here may have another name, as in a container.
    has_other_name = not is_virtual and None not in (machine.node, engine.node) and machine.node != engine.node
    if not has_other_name and not are_different(machine, engine):
        return None
    return EngineElsewhere(is_virtual, engine.cpu_count, machine.cpu_count)


def are_different(first: Machine | DockerEngine, second: Machine | DockerEngine) -> bool:
    """Whether two records tell of two machines. Only what both tell is compared."""
    pairs = [
        (first.kernel, second.kernel),
        (_architecture(first), _architecture(second)),
        (first.cpu_count, second.cpu_count),
    ]
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        return True
    if first.memory_bytes is None or second.memory_bytes is None:
        return False
    return not is_same_memory(first.memory_bytes, second.memory_bytes)


def can_be_told_apart(first: Machine | DockerEngine, second: Machine | DockerEngine) -> bool:
    """Whether two records tell the same of anything that ``are_different`` compares."""
    keys = ("kernel", "cpu_count", "architecture", "memory_bytes")
    return any(None not in (getattr(first, key), getattr(second, key)) for key in keys)


def is_same_memory(first_bytes: int, second_bytes: int) -> bool:
    """Whether two amounts of memory may be of one machine at two boots."""
    return abs(first_bytes - second_bytes) <= SAME_MEMORY * first_bytes


def _architecture(of: Machine | DockerEngine) -> str | None:
    name = of.architecture
    return None if name is None else ARCHITECTURES.get(name.lower(), name)


def is_over_ssh(engine: DockerEngine) -> bool:
    """Whether an engine is reached with ssh."""
    return urlsplit(engine.endpoint or "").scheme == "ssh"


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's own loopback."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() in ("localhost", "localhost.")


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
