"""Whether a port is free, and if not, who has it."""

from __future__ import annotations

import socket

import psutil


def why_port_is_taken(port: int) -> str | None:
    """Who listens on a TCP port of this machine, with the remedy; None when it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return None
        except OSError:
            pass
    return f"port {port} is taken by {_holder(port)}; end that, or choose another port (--port) and run again"


def _holder(port: int) -> str:
    try:
        for one in psutil.net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                return f"{psutil.Process(one.pid).name()} (process {one.pid})"
    except psutil.Error:
        pass
    return "a process of another user"
