"""Reads a replica's counters from the kernel's files of its control group, in about 0.04 ms, without the Docker engine.

This works only on the machine that the group is on: in the monitor there, or in an agent (``_agent``). The engine
reads the same files (Linux, Documentation/admin-guide: cgroup-v1/, cgroup-v2.rst; proc(5) for net/dev and net/snmp).
They stay open between two readings, because opening them takes ten times as long as reading them.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runfiles.columns import BLOCK_IO, CPU, MEMORY, NETWORK, PIDS, THROTTLING

from _counters import Counters, Interface, working_set

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc")


@dataclass(frozen=True)
class Roots:
    """Where the kernel's files are. An agent in a container sees those of its node at other places."""

    proc: Path = PROC
    cgroup: Path = CGROUP

    @property
    def version(self) -> int:
        return 2 if (self.cgroup / "cgroup.controllers").exists() else 1


HERE = Roots()

MOST_BYTES = 64 * 1024
"""Longer than any of these files."""


@dataclass(frozen=True)
class Version:
    """Where a version of control groups keeps each number.

    ``files``: what -> the file's controller (v1 mounts each one in a folder of its own) and name. The patterns find a
    number in its file: ``cpu`` in that of the CPU, the others in that of their field.
    """

    files: Mapping[str, str]
    per_second: float
    """The unit of CPU times: so many of them are a second."""
    cpu: re.Pattern[str]
    throttled: re.Pattern[str]
    throttled_file: str
    inactive_file: re.Pattern[str]
    file_cache: re.Pattern[str]
    block_read: re.Pattern[str]
    block_write: re.Pattern[str]


def _line(name: str) -> re.Pattern[str]:
    """The number in the line ``name number``."""
    return re.compile(rf"^{name} (\d+)$", re.MULTILINE)


V1 = Version(
    files={
        "cpu": "cpuacct/cpuacct.usage",
        "memory": "memory/memory.usage_in_bytes",
        "memory_stat": "memory/memory.stat",
        "block": "blkio/blkio.throttle.io_service_bytes_recursive",
        "pids": "pids/pids.current",
        "throttled": "cpu/cpu.stat",
    },
    per_second=1e9,
    cpu=re.compile(r"^(\d+)$", re.MULTILINE),
    throttled=_line("throttled_time"),
    throttled_file="throttled",
    inactive_file=_line("total_inactive_file"),
    file_cache=_line("total_cache"),
    block_read=re.compile(r"^\d+:\d+ Read (\d+)$", re.MULTILINE),
    block_write=re.compile(r"^\d+:\d+ Write (\d+)$", re.MULTILINE),
)
V2 = Version(
    files={
        "cpu": "cpu.stat",
        "memory": "memory.current",
        "memory_stat": "memory.stat",
        "block": "io.stat",
        "pids": "pids.current",
    },
    per_second=1e6,
    cpu=_line("usage_usec"),
    throttled=_line("throttled_usec"),
    throttled_file="cpu",
    inactive_file=_line("inactive_file"),
    file_cache=_line("file"),
    block_read=re.compile(r"\brbytes=(\d+)"),
    block_write=re.compile(r"\bwbytes=(\d+)"),
)
VERSIONS = {1: V1, 2: V2}

MAY_LACK = ("block", "throttled")
"""Files that may be missing: the kernel lacks their controller, or does not hand it down to the group."""


class NoCgroup(Exception):
    """The control group can't be read: it is on another machine, is hidden, or holds other processes too."""


class CgroupReader:
    """Reads one control group.

    Args:
        pid: a process in the group.
        is_theirs: tells of the group's folder whether the group belongs to the replica alone.
        memory_limit_bytes: the limit that is recorded.
        has_network: the process has a network of its own, which is read too.
        roots: where the files are.
        path: the group's path, if it is known. None: it is the one that the process tells. In a container that may be
            relative to the container's own group.

    Raises:
        NoCgroup: there is no such group, or it is not the replica's alone.
    """

    def __init__(
        self,
        pid: int,
        is_theirs: Callable[[Path], bool],
        memory_limit_bytes: int | None = None,
        *,
        has_network: bool,
        roots: Roots = HERE,
        path: str | None = None,
    ) -> None:
        self.version = roots.version
        self._net = roots.proc / str(pid) / "net" if has_network else None
        self._memory_limit_bytes = memory_limit_bytes
        self._open: dict[str, int] = {}
        self._version = VERSIONS[self.version]
        files = _files_of(pid, self._version, roots, path)
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
        """How each group of columns is read. It can also be asked after ``close``."""
        said = {what: f"cgroup v{self.version}: {Path(self._version.files[what]).name}" for what in self._read_from}
        found = {CPU: said["cpu"], MEMORY: f"{said['memory']} less inactive file cache", PIDS: said["pids"]}
        found |= {NETWORK: "/proc/PID/net/dev and snmp of the container"} if self._net else {}
        found |= {BLOCK_IO: said["block"]} if "block" in said else {}
        throttled = said.get(self._version.throttled_file)
        return found | ({THROTTLING: throttled} if throttled else {})

    def read(self) -> Counters | None:
        """The counters now; None if the group has ended.

        Raises:
            OSError: the files exist but can't be read.
        """
        try:
            net = None if self._net is None else [(self._net / name).read_bytes().decode() for name in ("dev", "snmp")]
            texts = {what: os.pread(file, MOST_BYTES, 0).decode() for what, file in self._open.items() if what != "cpu"}
            texts["cpu"] = os.pread(self._open["cpu"], MOST_BYTES, 0).decode()  # last, as close to the time as can be
            read_at = time.time()
        except (FileNotFoundError, ProcessLookupError):
            return None
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.EINVAL):  # the group or the process is just being removed
                return None
            raise
        return _counters(self._version, read_at, texts, net, self._memory_limit_bytes)

    def close(self) -> None:
        for file in self._open.values():
            os.close(file)
        self._open.clear()


def container_cgroup(
    pid: int,
    container_id: str,
    memory_limit_bytes: int | None,
    *,
    has_network: bool,
    roots: Roots = HERE,
    path: str | None = None,
) -> CgroupReader:
    """The reader of a container's group, by the ID of a process in it, such as the engine gives for the container.

    Raises:
        NoCgroup: on this machine that process is not the container's, or its group can't be read.
    """
    return CgroupReader(
        pid,
        lambda folder: container_id in folder.as_posix(),
        memory_limit_bytes,
        has_network=has_network,
        roots=roots,
        path=path,
    )


def _files_of(pid: int, version: Version, roots: Roots, known_path: str | None) -> dict[str, Path]:
    try:
        lines = (roots.proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError as error:
        raise NoCgroup(f"process {pid} can't be seen") from error
    paths = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
    found = {}
    for what, place in version.files.items():
        controller, _, name = place.rpartition("/")
        if controller not in paths:
            raise NoCgroup(f"the kernel has no control group of {controller or 'version 2'}")
        path = paths[controller] if known_path is None else known_path
        found[what] = roots.cgroup / controller / path.lstrip("/") / name
    return found


def _counters(
    version: Version,
    read_at: float,
    texts: Mapping[str, str],
    net: Sequence[str] | None,
    memory_limit_bytes: int | None,
) -> Counters:
    """The numbers in the texts of a group's files. ``net``: those of ``net/dev`` and ``net/snmp``.

    Raises:
        ValueError: the file of the CPU does not tell the time used.
    """
    used, throttled = _first(version.cpu, texts["cpu"]), _first(version.throttled, texts.get(version.throttled_file))
    if used is None:
        raise ValueError(f"{version.files['cpu']} without CPU time")
    usage, cache = texts["memory"], _first(version.inactive_file, texts["memory_stat"])
    return Counters(
        read_at_unix_s=read_at,
        cpu_seconds=used / version.per_second,
        memory_bytes=working_set({"usage": usage, "stats": {"inactive_file": cache or 0}}),
        memory_limit_bytes=memory_limit_bytes,
        networks=None if net is None else _networks(net[0]),
        block_read_bytes=_sum(version.block_read, texts.get("block")),
        block_write_bytes=_sum(version.block_write, texts.get("block")),
        pids=int(texts["pids"]),
        throttled_seconds=None if throttled is None else throttled / version.per_second,
        memory_cache_bytes=_first(version.file_cache, texts["memory_stat"]),
        connections_accepted=None if net is None else _accepted(net[1]),
    )


def _first(pattern: re.Pattern[str], text: str | None) -> int | None:
    found = pattern.search(text or "")
    return None if found is None else int(found[1])


def _sum(pattern: re.Pattern[str], text: str | None) -> int | None:
    return None if text is None else sum(map(int, pattern.findall(text)))


def _networks(text: str) -> dict[str, Interface]:
    """All interfaces in ``/proc/PID/net/dev`` except loopback, as the engine counts them."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        values = [int(value) for value in numbers.split()]
        if name.strip() != "lo":
            found[name.strip()] = Interface(values[0], values[8], values[1], values[9])
    return found


def _accepted(text: str) -> int | None:
    """How many TCP connections were accepted: ``PassiveOpens`` in ``/proc/PID/net/snmp`` (RFC 4022,
    tcpPassiveOpens)."""
    lines = [line.split() for line in text.splitlines() if line.startswith("Tcp:")]
    if len(lines) != 2 or "PassiveOpens" not in lines[0]:
        return None
    return int(lines[1][lines[0].index("PassiveOpens")])
