"""Counters from the kernel's own files of a control group: exact, in some 0.04 ms, and without a word to the engine.

Only on the machine that the group is on. The files are those that the engine reads itself (Linux,
Documentation/admin-guide: cgroup-v1/, cgroup-v2.rst; proc(5) for net/dev). They stay open between two readings: to open
them costs ten times what reading them does.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from _counters import Counters, Interface, working_set

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc")
MOST_BYTES = 64 * 1024
"""Longer than any of these files."""

FILES = {
    1: {
        "cpu": "cpuacct/cpuacct.usage",
        "memory": "memory/memory.usage_in_bytes",
        "memory_stat": "memory/memory.stat",
        "block": "blkio/blkio.throttle.io_service_bytes_recursive",
        "pids": "pids/pids.current",
        "throttled": "cpu/cpu.stat",
    },
    2: {
        "cpu": "cpu.stat",
        "memory": "memory.current",
        "memory_stat": "memory.stat",
        "block": "io.stat",
        "pids": "pids.current",
    },
}
"""Version -> what -> the file's controller (v1 mounts each in a folder of its own) and name. v2 tells of throttling in
the file of the CPU."""

MAY_LACK = ("block", "throttled")
"""Of a controller that is not there, or not handed down to the group."""


class NoCgroup(Exception):
    """No such control group can be read from here: it is on another machine, can't be seen, or is not theirs alone."""


class CgroupReader:
    """Reads one control group.

    Args:
        pid: a process in the group; its network is read where ``has_network``.
        is_theirs: whether the group at these folders is that of whom it is read for.

    Raises:
        NoCgroup: there is none, or it is not theirs.
    """

    def __init__(
        self,
        pid: int,
        is_theirs: Callable[[Path], bool],
        memory_limit_bytes: int | None = None,
        *,
        has_network: bool,
    ) -> None:
        self.version = 2 if (CGROUP / "cgroup.controllers").exists() else 1
        self._net = str(PROC / str(pid) / "net" / "dev") if has_network else None
        self._memory_limit_bytes = memory_limit_bytes
        self._open: dict[str, int] = {}
        files = _files_of(pid, self.version)
        if not all(is_theirs(file.parent) for file in files.values()):
            raise NoCgroup(f"the control group of process {pid} is not theirs alone")
        try:
            for what, file in files.items():
                if what not in MAY_LACK or file.exists():
                    self._open[what] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            is_readable = self.read() is not None
        except (OSError, KeyError, ValueError, AttributeError):
            is_readable = False
        if not is_readable:
            self.close()
            raise NoCgroup(f"the control group of process {pid} can't be read")
        self._read_from = tuple(self._open)

    @property
    def sources(self) -> dict[str, str]:
        """How each group of columns is had; to be asked also when it is closed."""
        said = {what: f"cgroup v{self.version}: {Path(FILES[self.version][what]).name}" for what in self._read_from}
        throttled = said.get("throttled") if self.version == 1 else said["cpu"]
        found = {"CPU": said["cpu"], "memory": f"{said['memory']} less inactive file cache", "PIDs": said["pids"]}
        found |= {"network": "/proc/PID/net/dev of the container"} if self._net else {}
        found |= {"block I/O": said["block"]} if "block" in said else {}
        return found | ({"throttling": throttled} if throttled else {})

    def read(self) -> Counters | None:
        """The counters now; None where the group has ended.

        Raises:
            OSError: the files are there and can't be read.
        """
        try:
            interfaces = None if self._net is None else _interfaces(Path(self._net).read_bytes().decode())
            texts = {what: os.pread(file, MOST_BYTES, 0).decode() for what, file in self._open.items() if what != "cpu"}
            cpu = os.pread(self._open["cpu"], MOST_BYTES, 0).decode()
            read_at = time.time()
        except (FileNotFoundError, ProcessLookupError):
            return None
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.EINVAL):  # the group or the process is just being removed
                return None
            raise
        return (_counters_v2 if self.version == 2 else _counters_v1)(
            read_at, cpu, texts, interfaces, self._memory_limit_bytes
        )

    def close(self) -> None:
        for file in self._open.values():
            os.close(file)
        self._open.clear()


def container_cgroup(pid: int, container_id: str, memory_limit_bytes: int | None, *, has_network: bool) -> CgroupReader:
    """A container's group, by the process ID that the engine gives for it.

    Raises:
        NoCgroup: that process is not this container's on this machine, or its group can't be read.
    """
    return CgroupReader(
        pid, lambda folder: container_id in folder.as_posix(), memory_limit_bytes, has_network=has_network
    )


def _files_of(pid: int, version: int) -> dict[str, Path]:
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
    except OSError as error:
        raise NoCgroup(f"process {pid} can't be seen") from error
    paths = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
    found = {}
    for what, place in FILES[version].items():
        controller, _, name = place.rpartition("/")
        if controller not in paths:
            raise NoCgroup(f"the kernel has no control group of {controller or 'version 2'}")
        found[what] = CGROUP / controller / paths[controller].lstrip("/") / name
    return found


def _counters_v2(
    read_at: float, cpu: str, texts: Mapping[str, str], interfaces: Mapping[str, Interface] | None, limit: int | None
) -> Counters:
    used, throttled = _number_after("usage_usec", cpu), _number_after("throttled_usec", cpu)
    if used is None:
        raise ValueError("cpu.stat without usage_usec")
    block = texts.get("block")
    read, written = (
        None if block is None else sum(map(int, re.findall(rf"\b{name}=(\d+)", block))) for name in ("rbytes", "wbytes")
    )
    return Counters(
        read_at_unix_s=read_at,
        cpu_seconds=used / 1e6,
        memory_bytes=_working_set(texts, "inactive_file"),
        memory_limit_bytes=limit,
        interfaces=interfaces,
        block_read_bytes=read,
        block_write_bytes=written,
        pids=int(texts["pids"]),
        throttled_seconds=None if throttled is None else throttled / 1e6,
    )


def _counters_v1(
    read_at: float, cpu: str, texts: Mapping[str, str], interfaces: Mapping[str, Interface] | None, limit: int | None
) -> Counters:
    throttled = _number_after("throttled_time", texts.get("throttled", ""))
    block = texts.get("block")
    read, written = (
        None if block is None else sum(map(int, re.findall(rf"^\d+:\d+ {name} (\d+)$", block, re.MULTILINE)))
        for name in ("Read", "Write")
    )
    return Counters(
        read_at_unix_s=read_at,
        cpu_seconds=int(cpu) / 1e9,
        memory_bytes=_working_set(texts, "total_inactive_file"),
        memory_limit_bytes=limit,
        interfaces=interfaces,
        block_read_bytes=read,
        block_write_bytes=written,
        pids=int(texts["pids"]),
        throttled_seconds=None if throttled is None else throttled / 1e9,
    )


def _working_set(texts: Mapping[str, str], cache: str) -> int:
    return working_set({"usage": texts["memory"], "stats": {cache: _number_after(cache, texts["memory_stat"]) or 0}})


def _number_after(name: str, text: str) -> int | None:
    """The number in the line ``name number``."""
    found = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
    return None if found is None else int(found[1])


def _interfaces(text: str) -> dict[str, Interface]:
    """``/proc/PID/net/dev``: all interfaces of the process's network but loopback, as the engine counts them."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        values = [int(value) for value in numbers.split()]
        if name.strip() != "lo":
            found[name.strip()] = Interface(values[0], values[8], values[1], values[9])
    return found
