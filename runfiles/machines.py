"""What a machine is, and whether a Docker engine runs on another one."""

from __future__ import annotations

import ipaddress
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def machine_record() -> dict[str, str | int | None]:
    """What this machine is, as both JSON records state it; ``cpu_model`` and ``memory_bytes`` None where not told."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    told = all(name in os.sysconf_names for name in names)
    return {
        "node": platform.node(),
        "system": platform.system(),
        "kernel": platform.release(),
        "cpu_model": _cpu_model(),
        "architecture": platform.machine(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": os.sysconf(names[0]) * os.sysconf(names[1]) if told else None,
    }


@dataclass(frozen=True)
class EngineElsewhere:
    """A Docker engine that does not run on this machine itself: host process and containers ran on two machines.

    ``is_virtual``: it is reached through this machine's own loopback or socket, so it is a virtual machine here (Docker
    Desktop, Colima); else another machine. ``cpu_count`` and ``machine_cpu_count`` are those of the engine and of this
    machine, None where not told.
    """

    is_virtual: bool
    cpu_count: int | None
    machine_cpu_count: int | None

    def __str__(self) -> str:
        where = "in a virtual machine" if self.is_virtual else "on another machine"
        counts = (self.cpu_count, self.machine_cpu_count)
        if None in counts:
            return f"the engine runs {where}"
        with_cpus = "with {} of {} CPUs" if self.is_virtual else "with {} CPUs; this one has {}"
        return f"the engine runs {where} {with_cpus.format(*counts)}"


SAME_MEMORY = 0.01
"""The kernel keeps some of the memory for itself, not the same at each boot."""

TELLING_KEYS = ("kernel", "cpu_count", "architecture", "memory_bytes")
"""What two records of one machine have in common."""

ARCHITECTURES = {"arm64": "aarch64", "amd64": "x86_64"}
"""Other names of one architecture: macOS and Windows use the first ones."""


def engine_elsewhere(machine: Mapping[str, Any], engine: Mapping[str, Any]) -> EngineElsewhere | None:
    """Whether an engine runs on another machine than ``machine`` (both as ``experiment.json`` holds them); None where
    nothing shows that. What either record does not tell is not compared.
    """
    pairs = [(machine.get(key), engine.get(key)) for key in TELLING_KEYS]
    if all(None in pair or _is_same(*pair) for pair in pairs):
        return None
    address = urlsplit(str(engine.get("endpoint") or "unix:"))
    is_virtual = address.scheme in ("unix", "npipe") or is_loopback(address.hostname or "")
    return EngineElsewhere(is_virtual, engine.get("cpu_count"), machine.get("cpu_count"))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, str):
        return bool(ARCHITECTURES.get(one.lower(), one) == ARCHITECTURES.get(str(other).lower(), other))
    return bool(abs(one - other) <= (SAME_MEMORY * one if one > 1e6 else 0))


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
