"""Serving the app: one event loop, keep-alive, and a stop that answers what is in flight."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
import time
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_CONNECTIONS = 10_000
BACKLOG = 4096

IDLE_CONNECTION_S = 75
STOP_GRACE_S = 30

QUIET_S = 0.5
"""No request for so long: whoever kept a connection has been told to open its next one elsewhere."""

DRAIN_S = 5.0
"""Waiting for that at most: where there is no elsewhere, clients come back for as long as they are let in."""

SWITCH_INTERVAL_S = 0.0001
"""A lane with a batch in hand waits so long for the interpreter at most; by Python's default it is 5 ms, longer than
many a batch takes."""


class _OneWrite:
    """A transport that sends at once what is written in one turn of the loop.

    uvicorn writes an answer's head and its body apart: two system calls, and a client that is woken twice.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            asyncio.get_running_loop().call_soon(self.flush)
        self._parts.append(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Send now what was written."""
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()


class Connection(HttpToolsProtocol):
    """A connection: answers its requests one by one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        self._answers = _OneWrite(transport)
        super().connection_made(self._answers)  # type: ignore[arg-type]  # it is a transport by all that is used of it
        # uvicorn itself waits for ever for a first request.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_response_complete(self) -> None:
        self._answers.flush()  # now, not at the end of this turn: the client waits for nothing else
        super().on_response_complete()


class Server(uvicorn.Server):
    """Drains before it stops."""

    _is_hurried = False

    async def main_loop(self) -> None:
        """Until it is asked to stop, and then while requests still come: their answers say ``Connection: close``."""
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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first signal asks to stop, a second one to drain no longer."""
        self._is_hurried = self.should_exit
        self.should_exit = True


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT, then drain, finish the requests in flight and return.

    Draining costs no client its request: each answer still given says ``Connection: close``, so that the next request
    goes to another replica, where there is one. A second signal ends the draining at once.

    Raises:
        OSError: the address can't be listened on.
    """
    _allow_many_connections()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,  # warnings and errors alone, to stderr
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_CONNECTION_S,
        timeout_graceful_shutdown=STOP_GRACE_S,
    )
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.create_server(address, family=family, backlog=BACKLOG) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # connections take it over: dead ones are found
        Server(config).run([listener])


def _allow_many_connections() -> None:
    """Lift the soft limit of open files, which shells set to 1024, as far as this process may."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 1000
    if now != resource.RLIM_INFINITY and now < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS may refuse what it said to be the most
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
            )
