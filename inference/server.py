"""Serving the app: one event loop, connections that are kept open, and a stop that still answers requests in flight."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
import time
from functools import partial
from types import FrameType

import uvicorn

from inference.app import App
from inference.http_protocol import MOST_CONNECTIONS, Connection

BACKLOG = 4096

IDLE_CONNECTION_S = 75
STOP_GRACE_S = 30

QUIET_S = 0.5
"""Draining ends if no request came for this long: all clients were told to open their next connection elsewhere."""

DRAIN_S = 5.0
"""Draining ends after this long. With a single replica, clients keep reconnecting to it."""

SWITCH_INTERVAL_S = 0.0001
"""How long a lane that has a batch to compute waits for Python's interpreter lock. Python's default, 5 ms, is longer
than many batches take."""

WRITE_STALL_S = 75
"""A client that reads nothing of its answer for this long is dropped."""

STOP_STALL_S = 5
"""The same while the service stops."""


class Server(uvicorn.Server):
    """A uvicorn server that drains before it stops.

    ``sending``: the connections of which something may not be sent yet. To look at all connections would keep the
    clients waiting if 10,000 are open.
    """

    _is_hurried = False

    async def main_loop(self) -> None:
        """Serve until it is asked to stop, then while requests still come. Their answers say ``Connection: close``."""
        await super().main_loop()
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        now = time.monotonic()
        until, quiet_at = now + DRAIN_S, now + QUIET_S
        answered = state.total_requests
        while now < min(until, quiet_at) and not self._is_hurried:
            await asyncio.sleep(QUIET_S / 10)
            now = time.monotonic()
            if state.total_requests != answered:
                answered, quiet_at = state.total_requests, now + QUIET_S

    def __init__(self, config: uvicorn.Config, sending: set[Connection]) -> None:
        super().__init__(config)
        self._sending = sending

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            self._drop_stalled(WRITE_STALL_S)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the requests in flight, but do not wait for a client that does not read its answer."""
        dropping = asyncio.create_task(self._keep_dropping())
        await super().shutdown(sockets)
        dropping.cancel()

    async def _keep_dropping(self) -> None:
        until_s = time.monotonic() + STOP_GRACE_S - 1
        while True:
            is_late = time.monotonic() > until_s
            self._drop_stalled(0 if is_late else STOP_STALL_S)
            await asyncio.sleep(0.1)

    def _drop_stalled(self, limit_s: float) -> None:
        now_s = time.monotonic()
        for connection in list(self._sending):
            connection.drop_if_stalled(now_s, limit_s)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks the server to stop, the second one to end draining."""
        self._is_hurried = self.should_exit
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at this address: from now on connections are accepted, and wait for ``serve``.

    Raises:
        OSError: it can't listen there.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.create_server(address, family=family, backlog=BACKLOG)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # connections inherit it: dead ones are found
    return listener


def serve(app: App, listener: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT, then drain, finish the requests in flight and return.

    Draining costs no client its request: each answer says ``Connection: close``, so the client sends its next request
    to another replica, if there is one. A second signal ends draining at once.
    """
    _allow_many_connections()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    sending: set[Connection] = set()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=partial(Connection, app, sending),  # type: ignore[arg-type]  # uvicorn calls it as it calls a class
        ws="none",
        lifespan="off",
        log_config=None,  # only warnings and errors, to stderr
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_CONNECTION_S,
        timeout_graceful_shutdown=STOP_GRACE_S,
    )
    Server(config, sending).run([listener])


def _allow_many_connections() -> None:
    """Raise the soft limit of open files, which shells set to 1024, as far as this process may."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 1000
    if now != resource.RLIM_INFINITY and now < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS may refuse the limit that it names
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
            )
