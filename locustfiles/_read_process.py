"""A process of this machine and all that it started, read as a replica is."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import psutil

import addresses
from runfiles.columns import CPU, MEMORY, PIDS

from _counters import Counters
from _read_cgroup import PROC, CgroupReader, NoCgroup

FORWARDERS = (
    *("docker-proxy", "dockerd", "com.docker*", "vpnkit*", "OrbStack*", "conmon"),
    *("rootlesskit*", "rootlessport*", "slirp4netns", "pasta*", "passt*", "gvproxy", "gvforwarder", "host-switch"),
    *("limactl", "lima-guestagent", "qemu-system-*", "VBoxHeadless", "VBoxNetNAT", "wslrelay*", "kube-proxy"),
    *("ssh", "sshd*", "kubectl", "oc", "socat", "ncat", "rinetd", "redir", "stunnel*", "chisel", "frpc", "frps"),
    *("systemd", "systemd-socket-p*", "launchd", "inetd", "xinetd"),
)
"""Programs that listen on behalf of another one: port forwarders of container engines, virtual machines, clusters and
shells, and those that hand their sockets on. They are no replica themselves. The kernel cuts names at 15 characters."""

SLOW_EVERY_S = 1.0
"""Between two looks at what is dear: the kernel walks all pages of a process for its PSS, and we all processes for the
tree."""


def process_reader(root: psutil.Process) -> CgroupReader | ProcessReader:
    """Reads the process's own control group where it has one (``systemd-run --scope``, a unit), else its tree."""
    try:
        return CgroupReader(root.pid, lambda folder: _is_own(folder, root), has_network=False)
    except (NoCgroup, psutil.Error, OSError):
        return ProcessReader(root)


def _is_own(folder: Path, root: psutil.Process) -> bool:
    """Whether nobody but the process and its children is in a control group, nor in those below it."""
    own = {root.pid, *(one.pid for one in root.children(recursive=True))}
    there = [int(pid) for file in folder.rglob("cgroup.procs") for pid in file.read_text().split()]
    return bool(there) and set(there) <= own


def listeners(ips: Sequence[str], port: int) -> list[psutil.Process]:
    """The processes that hold the TCP socket which serves this port of these IP addresses, as far as this user may see
    them; of several sockets the closest (``addresses.closeness``)."""
    found: dict[int, set[tuple[str, int | None]]] = {0: set()}
    for ip, pid in _listening(port):
        found.setdefault(max((addresses.closeness(ip, one) for one in ips), default=0), set()).add((ip, pid))
    closest = max(found)
    holders = [_family(pid, ip, port) for ip, pid in found[closest] if pid and closest]
    return list({process.pid: process for family in holders for process in family}.values())


def _family(pid: int, ip: str, port: int) -> list[psutil.Process]:
    """A process that listens, those that it shares the socket with, and the one of them that started the others:
    psutil tells one process of each socket."""

    try:
        root = psutil.Process(pid)
        shared = _listening_sockets(root, ip, port)

        def holds(process: psutil.Process) -> bool:
            return bool(shared & _listening_sockets(process, ip, port))

        for parent in root.parents():
            if not holds(parent):
                break
            root = parent
        return [root, *filter(holds, root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _listening_sockets(process: psutil.Process, ip: str | None = None, port: int | None = None) -> set[str]:
    """The TCP sockets that a process listens on, or only those of one address, each as the kernel knows it: two
    processes have the same one only if they share it."""
    found = set()
    with suppress(psutil.Error):
        for one in process.net_connections(kind="tcp"):
            if _listens(one) and (ip is None or one.laddr == (ip, port)):
                try:
                    found.add(os.readlink(PROC / str(process.pid) / "fd" / str(one.fd)))
                except OSError:  # no Linux
                    found.add(str(one.laddr))
    return found


def listener_with_id(pid: object) -> psutil.Process | None:
    """The one process of this machine that listens on a TCP port and has this ID in its own PID namespace; no
    forwarder, such as the init of this machine."""
    with suppress(psutil.NoSuchProcess):
        holders = [psutil.Process(one) for one in {one for _, one in _listening(None) if one and _has_id(one, pid)}]
        return holders[0] if len(holders) == 1 and not forwarder_name(holders[0]) else None
    return None


def confirmed(holders: Sequence[psutil.Process], pid: object) -> psutil.Process | None:
    """Of the processes that hold a listening socket the one that has the ID which the service tells, or the topmost of
    those that started it and hold the socket too, as servers with several workers do; None if the service is none of
    them."""
    root = next((one for one in holders if _has_id(one.pid, pid) and not forwarder_name(one)), None)
    if root is None:
        return None
    with suppress(psutil.Error):
        for parent in root.parents():
            if parent not in holders or forwarder_name(parent):
                break
            root = parent
    return root


def is_service(process: psutil.Process, holders: Sequence[psutil.Process], pid: object) -> bool:
    """Whether a process is the service that tells this ID: it listens and has this ID, or it shares the socket that is
    loaded with the one of its ``holders`` that has it. That one started the other, or that it listens somewhere else,
    shows nothing: forwarders do that too."""
    if _has_id(process.pid, pid):
        return bool(_listening_sockets(process)) and not forwarder_name(process)
    served = confirmed(holders, pid)
    return served is not None and process in holders and bool(_listening_sockets(process) & _listening_sockets(served))


def eldest(processes: Sequence[psutil.Process]) -> psutil.Process:
    """The process that started the others; one that only listens on their behalf just if there is no other."""
    return min(processes, key=lambda one: (forwarder_name(one) is not None, one.create_time()))


def program_name(process: psutil.Process) -> str:
    """What a process calls itself."""
    try:
        return process.name()
    except psutil.Error:
        return f"process {process.pid}"


def forwarder_name(process: psutil.Process) -> str | None:
    """The name of a process that is a known forwarder, by what it calls itself or by its program; None: it is none."""
    names = [program_name(process)]
    with suppress(psutil.Error):
        names.append(Path(process.exe()).name)
    return next((name for name in names if any(fnmatch(name, one) for one in FORWARDERS)), None)


def container_ids(processes: Iterable[psutil.Process]) -> set[str]:
    """The IDs of the containers that these processes run in, by their control groups; empty where none is told."""
    found: set[str] = set()
    for process in processes:
        with suppress(OSError):
            found |= set(re.findall(r"[0-9a-f]{64}", (PROC / str(process.pid) / "cgroup").read_text()))
    return found


def _listening(port: int | None) -> Iterable[tuple[str, int | None]]:
    """IP address and process of each TCP socket that listens on a port, or on any; None: a process of another user."""
    sockets: list[tuple[Any, int | None]] = []
    try:
        sockets += [(one, one.pid) for one in psutil.net_connections(kind="tcp")]
    except psutil.AccessDenied:  # macOS shows only root the sockets of all processes; one's own can be asked one by one
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                sockets += [(one, process.pid) for one in process.net_connections(kind="tcp")]
    for one, pid in sockets:
        if _listens(one) and port in (None, one.laddr.port):
            yield one.laddr.ip, pid


def _listens(connection: Any) -> bool:
    return bool(connection.status == psutil.CONN_LISTEN and connection.laddr)


def _has_id(process_id: int, said: object) -> bool:
    """Whether a process of this machine has the ID that a service says it has: a number, and not true or 1.0."""
    return type(said) is int and _own_id(process_id) == said


def _own_id(pid: int) -> int:
    """The ID that a process has in its own PID namespace, which a container's processes have for themselves."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:  # no Linux
        return pid
    return next((int(line.split()[-1]) for line in lines if line.startswith("NSpid:")), pid)


class ProcessReader:
    """Reads the process and its children with psutil. Their network is not measured: they have no interface of their
    own. Memory, threads and who belongs to the tree are as of the last second."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._looked_at_s = float("-inf")
        self._tree: list[psutil.Process] = []
        self._memory_bytes = 0
        self._threads = 0
        self._is_pss = False

    @property
    def sources(self) -> dict[str, str]:
        """How each group of columns is had."""
        memory = "PSS of the process tree, once a second" if self._is_pss else "RSS of the process tree, once a second"
        return {CPU: "psutil: the process tree", MEMORY: f"psutil: {memory}", PIDS: "psutil: threads of the tree"}

    def read(self) -> Counters | None:
        """The counters now; None where the process has ended."""
        try:
            if time.monotonic() - self._looked_at_s >= SLOW_EVERY_S:
                self._look()
            cpu_seconds = _cpu_seconds(self._root) + sum(map(_cpu_seconds_or_none, self._tree))
            read_at = time.time()
        except psutil.NoSuchProcess:
            return None
        if not self._root.is_running() or self._root.status() == psutil.STATUS_ZOMBIE:
            return None
        return Counters(read_at, cpu_seconds, self._memory_bytes, pids=self._threads)

    def close(self) -> None:
        pass

    def _look(self) -> None:
        self._tree = self._root.children(recursive=True)
        self._looked_at_s = time.monotonic()
        self._memory_bytes, self._threads, self._is_pss = 0, 0, True
        for one in (self._root, *self._tree):
            try:
                memory, is_pss = _memory_bytes(one)
                self._memory_bytes += memory
                self._threads += one.num_threads()
                self._is_pss &= is_pss
            except psutil.NoSuchProcess:
                if one is self._root:
                    raise


def _cpu_seconds(process: psutil.Process) -> float:
    """What a process has used, and those of its children that have ended."""
    times = process.cpu_times()
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + ended)


def _cpu_seconds_or_none(process: psutil.Process) -> float:
    """0 of one that has just ended: what it used is then in its parent's account."""
    try:
        return _cpu_seconds(process)
    except psutil.NoSuchProcess:
        return 0.0


def _memory_bytes(process: psutil.Process) -> tuple[int, bool]:
    """The process's proportional share (PSS), so that memory shared within the tree counts once, and whether it is
    that; RSS where PSS is not told."""
    try:
        pss = getattr(process.memory_full_info(), "pss", 0)
    except psutil.AccessDenied:
        pss = 0
    return (int(pss), True) if pss else (int(process.memory_info().rss), False)
