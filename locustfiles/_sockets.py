"""Which processes of this machine listen on a TCP port, and which of them is the service."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import psutil

import addresses

from _read_cgroup import PROC

FORWARDERS = (
    *("docker-proxy", "dockerd", "com.docker*", "vpnkit*", "OrbStack*", "conmon"),
    *("rootlesskit*", "rootlessport*", "slirp4netns", "pasta*", "passt*", "gvproxy", "gvforwarder", "host-switch"),
    *("limactl", "lima-guestagent", "qemu-system-*", "VBoxHeadless", "VBoxNetNAT", "wslrelay*", "kube-proxy"),
    *("ssh", "sshd*", "kubectl", "oc", "socat", "ncat", "rinetd", "redir", "stunnel*", "chisel", "frpc", "frps"),
    *("systemd", "systemd-socket-p*", "launchd", "inetd", "xinetd"),
)
"""Programs that listen on behalf of another program: port forwarders of container engines, virtual machines, clusters
and shells, and programs that pass their sockets on. They are no replicas. The kernel cuts names at 15 characters."""


def listeners(ips: Sequence[str], port: int) -> list[psutil.Process]:
    """The processes that hold the TCP socket which serves this port of these IP addresses.

    Only processes that this user may see are found. Of several sockets the closest counts (``addresses.closeness``).
    """
    found: dict[int, set[tuple[str, int | None]]] = {0: set()}
    for ip, pid in _listening(port):
        closeness = max((addresses.closeness(ip, asked) for asked in ips), default=0)
        found.setdefault(closeness, set()).add((ip, pid))
    closest = max(found)
    holders = [_family(pid, ip, port) for ip, pid in found[closest] if pid and closest]
    return list({process.pid: process for family in holders for process in family}.values())


def _family(pid: int, ip: str, port: int) -> list[psutil.Process]:
    """A process that listens and all that share its socket, the one that started the others first.

    psutil names only one process for each socket.
    """
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
    """The TCP sockets that a process listens on, or only those of one address.

    They are named as the kernel names them, so two processes have the same one only if they share it.
    """
    found = set()
    with suppress(psutil.Error):
        for connection in process.net_connections(kind="tcp"):
            if _listens(connection) and (ip is None or connection.laddr == (ip, port)):
                try:
                    found.add(os.readlink(PROC / str(process.pid) / "fd" / str(connection.fd)))
                except OSError:  # not Linux
                    found.add(str(connection.laddr))
    return found


def listener_with_id(pid: object) -> psutil.Process | None:
    """The process of this machine that listens on a TCP port and has this ID in its own PID namespace.

    None if there are several, or if it is a forwarder, such as the init of this machine.
    """
    with suppress(psutil.NoSuchProcess):
        listening = {holder for _, holder in _listening(None) if holder and _has_id(holder, pid)}
        found = [psutil.Process(holder) for holder in listening]
        return found[0] if len(found) == 1 and not forwarder_name(found[0]) else None
    return None


def confirmed(holders: Sequence[psutil.Process], pid: object) -> psutil.Process | None:
    """The process that is the service, of those that hold a listening socket; None if none of them is.

    It has the ID that the service tells (``pid``). If processes that started it hold the socket too, as in servers with
    several workers, it is the topmost of them.
    """
    root = next((holder for holder in holders if _has_id(holder.pid, pid) and not forwarder_name(holder)), None)
    if root is None:
        return None
    with suppress(psutil.Error):
        for parent in root.parents():
            if parent not in holders or forwarder_name(parent):
                break
            root = parent
    return root


def is_service(process: psutil.Process, holders: Sequence[psutil.Process], pid: object) -> bool:
    """Whether a process is the service that tells this ID.

    It is if it listens and has this ID, or if it shares the loaded socket with the one of the ``holders`` that has it.
    It is not enough that it started that process, or listens at another address: forwarders do that too.
    """
    if _has_id(process.pid, pid):
        return bool(_listening_sockets(process)) and not forwarder_name(process)
    served = confirmed(holders, pid)
    return served is not None and process in holders and bool(_listening_sockets(process) & _listening_sockets(served))


def eldest(processes: Sequence[psutil.Process]) -> psutil.Process:
    """The process that started the others. A forwarder only if there is nothing else."""
    return min(processes, key=lambda process: (forwarder_name(process) is not None, process.create_time()))


def program_name(process: psutil.Process) -> str:
    """What a process calls itself."""
    try:
        return process.name()
    except psutil.Error:
        return f"process {process.pid}"


def forwarder_name(process: psutil.Process) -> str | None:
    """The name of a known forwarder, by what the process calls itself or by its program; None for any other process."""
    names = [program_name(process)]
    with suppress(psutil.Error):
        names.append(Path(process.exe()).name)
    return next((name for name in names if any(fnmatch(name, pattern) for pattern in FORWARDERS)), None)


def container_ids(processes: Iterable[psutil.Process]) -> set[str]:
    """The IDs of the containers that these processes run in and this program does not, by their control groups."""
    of_this_program = _container_ids(os.getpid())
    return {id for process in processes for id in _container_ids(process.pid)} - of_this_program


def _container_ids(pid: int) -> set[str]:
    try:
        return set(re.findall(r"[0-9a-f]{64}", (PROC / str(pid) / "cgroup").read_text()))
    except OSError:
        return set()


def _listening(port: int | None) -> Iterable[tuple[str, int | None]]:
    """IP address and process ID of each TCP socket that listens on a port, or on any port (None).

    The process ID is None if the process is another user's.
    """
    sockets: list[tuple[Any, int | None]] = []
    try:
        sockets += [(connection, connection.pid) for connection in psutil.net_connections(kind="tcp")]
    except psutil.AccessDenied:  # macOS shows the sockets of all processes only to root; ask each process instead
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                sockets += [(connection, process.pid) for connection in process.net_connections(kind="tcp")]
    for connection, pid in sockets:
        if _listens(connection) and port in (None, connection.laddr.port):
            yield connection.laddr.ip, pid


def _listens(connection: Any) -> bool:
    return bool(connection.status == psutil.CONN_LISTEN and connection.laddr)


def _has_id(process_id: int, said: object) -> bool:
    """Whether a process of this machine has the ID that a service says it has: a number, and not true or 1.0."""
    return type(said) is int and _own_id(process_id) == said


def _own_id(pid: int) -> int:
    """The ID that a process has in its own PID namespace. Each container has a namespace of its own."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:  # not Linux
        return pid
    return next((int(line.split()[-1]) for line in lines if line.startswith("NSpid:")), pid)
