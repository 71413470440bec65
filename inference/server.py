"""Serving the app: greenlets, keep-alive, and a stop that answers what is in flight."""

from __future__ import annotations

import contextlib
import io
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from inference.app import IS_GONE

MOST_CONNECTIONS = 10_000
BACKLOG = 4096

IDLE_CONNECTION_S = 75
STOP_GRACE_S = 30

QUIET_S = 0.5
"""No request for so long: whoever kept a connection has been told to open its next one elsewhere."""

DRAIN_S = 5.0
"""Waiting for that at most: where there is no elsewhere, clients come back for as long as they are let in."""

LONGEST_BODY_BYTES = 1024 * 1024
"""A longer body is not read at all, and its connection closed behind the refusal; a shorter one is read to its end, so
that the connection can be kept."""

ONE_SEND_BYTES = 16 * 1024
"""Headers and body up to here are sent as one: one system call, and one time that the client is woken."""


SWITCH_INTERVAL_S = 0.0001
"""A lane with a batch in hand waits so long for the interpreter at most; by Python's default it is 5 ms, longer than
many a batch takes."""


class Server(WSGIServer):  # type: ignore[misc]  # gevent comes without types
    """Knows when the last request came, which connections are idle, and whether it is stopping."""

    def __init__(self, app: WSGIApplication, host: str, port: int) -> None:
        super().__init__(
            (host, port),
            self._traffic,
            backlog=BACKLOG,
            spawn=Pool(MOST_CONNECTIONS),
            log=None,
            error_log=sys.stderr,
            handler_class=Handler,
            environ={"SERVER_NAME": host},  # else gevent asks the name service for it
        )
        self._app = app
        self.last_at_s = float("-inf")
        self.is_stopping = False
        self.idle: set[gevent.Greenlet] = set()

    def _traffic(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The app, with a body that comes in chunks read for it: werkzeug asks for a length."""
        self.last_at_s = time.monotonic()
        if environ.pop("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
            body = environ["wsgi.input"].read(LONGEST_BODY_BYTES + 1)
            environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
            if len(body) > LONGEST_BODY_BYTES:
                environ["fourfold.leave_unread"]()
        return self._app(environ, start_response)


class _Left:
    """A body of which gevent, behind the answer, is to read nothing more."""

    def _discard(self) -> None:
        pass


class Handler(WSGIHandler):  # type: ignore[misc]  # as above
    """A connection: answers its requests one by one."""

    def __init__(self, sock: Any, address: Any, server: Server) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # without it small answers wait 40 ms
        sock.settimeout(IDLE_CONNECTION_S)
        super().__init__(sock, address, server)
        self._greenlet = gevent.getcurrent()
        self._leaves_unread = False
        self._held: list[bytes] | None = None
        """What is to be sent as one; None where each piece is sent as it comes."""

    def read_requestline(self) -> str:
        self.server.idle.add(self._greenlet)
        try:
            return str(super().read_requestline())
        finally:
            self.server.idle.discard(self._greenlet)

    def get_environ(self) -> WSGIEnvironment:
        environ: WSGIEnvironment = super().get_environ()
        environ[IS_GONE] = self._is_gone
        environ["fourfold.leave_unread"] = self._leave_unread
        if (self.content_length or 0) > LONGEST_BODY_BYTES:
            self._leave_unread()
        return environ

    def finalize_headers(self) -> None:
        super().finalize_headers()
        if self.server.is_stopping or self._leaves_unread:
            self.close_connection = True
        if self.close_connection:
            self.response_headers.append((b"Connection", b"close"))

    def _write_with_headers(self, data: bytes) -> None:
        self._held = [] if len(data) <= ONE_SEND_BYTES else None
        super()._write_with_headers(data)
        held, self._held = self._held, None
        if held:
            self._sendall(b"".join(held))

    def _sendall(self, data: bytes) -> None:
        if self._held is None:
            super()._sendall(data)
        else:
            self._held.append(data)

    def _leave_unread(self) -> None:
        """Neither the app nor the server reads any more of the body."""
        self._leaves_unread = True
        self.wsgi_input = _Left()  # the request's own environment keeps the real one

    def _is_gone(self) -> bool:
        """Whether the client has closed the connection, or its half of it; called from any thread.

        The connection's greenlet waits for the answer meanwhile, so that the descriptor is still the same.
        """
        try:
            with socket.fromfd(self.socket.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
                return not same.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True


def serve(app: WSGIApplication, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT, then drain, finish the requests in flight and return.

    Draining costs no client its request: each answer still given says ``Connection: close``, so that the next request
    goes to another replica, where there is one. A second signal ends the draining at once.

    Raises:
        OSError: the address can't be listened on.
    """
    _allow_many_connections()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    server = Server(app, host, port)
    stop, hurry = Event(), Event()

    def ask_to_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, ask_to_stop)
    server.start()
    stop.wait()
    server.is_stopping = True
    until = time.monotonic() + DRAIN_S
    while time.monotonic() < min(until, server.last_at_s + QUIET_S) and not hurry.wait(QUIET_S / 10):
        pass
    server.close()
    gevent.killall(list(server.idle))
    server.stop(STOP_GRACE_S)


def _allow_many_connections() -> None:
    """Lift the soft limit of open files, which shells set to 1024, as far as this process may."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 1000
    if now != resource.RLIM_INFINITY and now < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS may refuse what it said to be the most
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
            )
