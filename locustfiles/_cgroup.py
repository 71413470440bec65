"""A container's counters from the kernel's own files: exact, in some 0.1 ms, and without a word to the engine.

Only on the engine's own machine. The files are those that the engine reads itself (Linux, Documentation/admin-guide:
cgroup-v1/, cgroup-v2.rst; proc(5) for net/dev).
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Mapping
from pathlib import Path

from _stats import Counters, Interface, working_set

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc")
IO_NAMES = ("rbytes", "wbytes")


class NoCgroup(Exception):
    """The container's control group can't be read from here: the engine is elsewhere, or does not let it be seen."""


class CgroupReader:
    """Reads one container, by the process ID that the engine gives for it.

    Raises:
        NoCgroup: that process is not this container's on this machine.
    """

    def __init__(
        self, pid: int, container_id: str, memory_limit_bytes: int | None, *, has_network: bool = True
    ) -> None:
        self._pid = pid
        self._has_network = has_network
        self._memory_limit_bytes = memory_limit_bytes
        try:
            lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
        except OSError as error:
            raise NoCgroup(f"process {pid} can't be seen") from error
        paths = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
        if not any(container_id in path for path in paths.values()):
            raise NoCgroup(f"process {pid} of this machine is not the container's")
        self.version = 2 if (CGROUP / "cgroup.controllers").exists() else 1
        folders = {name: CGROUP / name / path.lstrip("/") for name, path in paths.items()}
        if self.version == 2:
            self._cpu = self._memory = self._block = self._pids = CGROUP / paths[""].lstrip("/")
        elif missing := {"cpu", "cpuacct", "memory", "blkio", "pids"} - set(folders):
            raise NoCgroup(f"the kernel has no control group of {', '.join(sorted(missing))}")
        else:
            self._cpu, self._throttle = folders["cpuacct"], folders["cpu"]
            self._memory, self._block, self._pids = folders["memory"], folders["blkio"], folders["pids"]
        try:
            is_readable = self.read() is not None
        except (OSError, KeyError, ValueError):
            is_readable = False
        if not is_readable:
            raise NoCgroup(f"the control group of process {pid} can't be read")

    def read(self) -> Counters | None:
        """The counters now; None where the container has ended.

        Raises:
            OSError: the files are there and can't be read.
        """
        try:
            told = _interfaces((PROC / str(self._pid) / "net" / "dev").read_text())
            interfaces = told if self._has_network else None
            return self._read_v2(interfaces) if self.version == 2 else self._read_v1(interfaces)
        except (FileNotFoundError, ProcessLookupError):
            return None
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.EINVAL):  # the group or the process is just being removed
                return None
            raise

    def _read_v2(self, interfaces: Mapping[str, Interface] | None) -> Counters:
        cpu = _pairs((self._cpu / "cpu.stat").read_text())
        read_at = time.time()
        memory = {
            "usage": _number(self._memory / "memory.current"),
            "stats": _pairs((self._memory / "memory.stat").read_text()),
        }
        io = _text(self._block / "io.stat")
        read, written = (None if io is None else sum(map(int, re.findall(rf"\b{name}=(\d+)", io))) for name in IO_NAMES)
        return Counters(
            read_at_unix_s=read_at,
            cpu_seconds=cpu["usage_usec"] / 1e6,
            memory_bytes=working_set(memory),
            memory_limit_bytes=self._memory_limit_bytes,
            interfaces=interfaces,
            block_read_bytes=read,
            block_write_bytes=written,
            pids=_number(self._pids / "pids.current"),
            throttled_seconds=cpu["throttled_usec"] / 1e6 if "throttled_usec" in cpu else None,
        )

    def _read_v1(self, interfaces: Mapping[str, Interface] | None) -> Counters:
        used = _number(self._cpu / "cpuacct.usage")
        read_at = time.time()
        memory = {
            "usage": _number(self._memory / "memory.usage_in_bytes"),
            "stats": _pairs((self._memory / "memory.stat").read_text()),
        }
        io = _text(self._block / "blkio.throttle.io_service_bytes_recursive")
        block = None if io is None else _block_v1(io)
        throttled = _pairs(_text(self._throttle / "cpu.stat") or "").get("throttled_time")
        return Counters(
            read_at_unix_s=read_at,
            cpu_seconds=used / 1e9,
            memory_bytes=working_set(memory),
            memory_limit_bytes=self._memory_limit_bytes,
            interfaces=interfaces,
            block_read_bytes=None if block is None else block.get("Read", 0),
            block_write_bytes=None if block is None else block.get("Write", 0),
            pids=_number(self._pids / "pids.current"),
            throttled_seconds=None if throttled is None else throttled / 1e9,
        )


def _text(path: Path) -> str | None:
    """A file's text; None where there is no such file: its controller is not there, or not handed down."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _number(path: Path) -> int:
    return int(path.read_text())


def _pairs(text: str) -> dict[str, int]:
    """Lines of ``name number``."""
    return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE)}


def _block_v1(text: str) -> dict[str, int]:
    """Lines of ``8:0 Read 4096``: bytes by direction, all devices together."""
    found: dict[str, int] = {}
    for direction, value in re.findall(r"^\d+:\d+ (\w+) (\d+)$", text, re.MULTILINE):
        found[direction] = found.get(direction, 0) + int(value)
    return found


def _interfaces(text: str) -> dict[str, Interface]:
    """``/proc/PID/net/dev``: all interfaces of the process's network but loopback, as the engine counts them."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        values = [int(value) for value in numbers.split()]
        if name.strip() != "lo":
            found[name.strip()] = Interface(values[0], values[8], values[1], values[9])
    return found
