"""Locust's web UI of a master in a swarm, at a port of this machine's loopback.

Swarm publishes a port on all addresses of a node, and Locust's web UI starts and stops loads for whoever reaches it. So
nothing is published. The web UI listens on the loopback of the master's own container, and each connection to the port
here is passed on to it by a ``docker exec``, as ``kubectl port-forward`` does.
"""

from __future__ import annotations

import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from addresses import LOOPBACK
from infra.environment import for_docker
from infra.errors import DeploymentError

PORT = 8089
"""Of the web UI in the container."""

PIECE_BYTES = 65536

RELAY = f"""
import os, socket, sys, threading
there = socket.create_connection(("{LOOPBACK}", {PORT}))
def send():
    while piece := os.read(0, {PIECE_BYTES}):
        there.sendall(piece)
    there.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while piece := there.recv({PIECE_BYTES}):
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
"""
"""Runs in the container: passes on what comes by standard input, and what is answered."""


@contextmanager
def web_ui_at(port: int, container: str) -> Iterator[None]:
    """As long as the block lasts, this port of this machine's loopback is the web UI in a container.

    Raises:
        DeploymentError: the port is in use.
    """
    command = ["docker", "exec", "--interactive", container, "python", "-c", RELAY]

    class Passed(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with subprocess.Popen(
                command,
                env=for_docker(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            ) as relay:
                threading.Thread(target=_send, args=(self.request, relay.stdin), daemon=True).start()
                with suppress(OSError):
                    while relay.stdout and (piece := os.read(relay.stdout.fileno(), PIECE_BYTES)):
                        self.request.sendall(piece)
                relay.kill()

    try:
        server = _Server((LOOPBACK, port), Passed)
    except OSError as error:
        raise DeploymentError(
            f"port {port} of this machine can't be used ({error.strerror}); name another one: --web {port + 1}"
        ) from error
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


def _send(connection: Any, to: IO[bytes]) -> None:
    with suppress(OSError, ValueError):
        while piece := connection.recv(PIECE_BYTES):
            to.write(piece)
    with suppress(OSError):
        to.close()
