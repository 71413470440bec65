"""Serving the app: one event loop, keep-alive, and a stop that answers what is in flight."""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import lru_cache, partial
from http import HTTPMethod
from types import FrameType
from typing import Any
from urllib.parse import unquote

import httptools
import uvicorn
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from inference.app import App
from inference.refusals import FAULT, ClientFault

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

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's line and headers together; as much may stand between two pieces of a body, or behind it."""

LINGER_S = 1.0
"""So long a client may go on sending what is not read, and read why."""

STOP_WAIT_S = 1.0
"""On stop: so long a request that has begun may take to arrive whole."""

WATCH_S = 0.01
"""How often a client that sends no more is looked at, for as long as an answer is owed to it."""

WRITE_STALL_S = 75
"""A client that takes nothing of its answer for so long is dropped."""

STOP_STALL_S = 5
"""The same on stop."""

PIECE_BYTES = 1024
"""So much is parsed at a time: few requests stand in it, each of which takes some kB until it is answered."""

MAX_HELD_BYTES = 64 * 1024
"""With more unparsed of a connection, it is read no further."""

TLS_RECORD = b"\x16"

HTTP = b"HTTP/1.1 "
"""What every answer begins with."""

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"
METHOD_BEGINS = re.compile(TOKEN + rb"( [A-Za-z0-9+.-]{0,64}:?/?)?")
UNKNOWN_METHOD = re.compile(TOKEN + rb" (/|\*|[A-Za-z][A-Za-z0-9+.-]*://)[^\r\n]*(\r?\n|$)")
"""A line that begins with a method, whichever it is, and a target."""

ABSOLUTE_TARGET = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+([^#]*)")

HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:0*[0-9]{0,5})?")

METHODS = {method.value.encode() for method in HTTPMethod}
"""What the parser knows as methods, as far as they stand before a request here."""

ALLOW = {"Allow": "GET, HEAD, POST, OPTIONS"}

TOO_LONG_HEAD = ClientFault("head", 431, f"expected a head of at most {MAX_HEAD_BYTES} bytes")


class _OneWrite:
    """A transport that sends at once what is written in one turn of the loop, and drops what nobody reads any more.

    uvicorn writes an answer's head and its body apart: two system calls, and a client that is woken twice.
    ``has_unread`` says whether a part of a request was not read. Then closing waits for the client, up to LINGER_S: the
    kernel resets a connection that is closed with unread bytes, and the client loses the answer that it was just sent.
    """

    def __init__(self, transport: asyncio.Transport, has_unread: Callable[[], bool]) -> None:
        self._transport = transport
        self._has_unread = has_unread
        self._parts: list[bytes] = []
        self._sent_ahead = b""
        self._written_bytes = self._taken_bytes = 0
        self._taken_at_s = 0.0
        self.is_closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            asyncio.get_running_loop().call_soon(self.flush)
        self._parts.append(data)

    def is_closing(self) -> bool:
        return self.is_closed or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        self.flush()
        self.is_closed = True
        if self._has_unread():
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)
        else:
            self._transport.close()

    def flush(self) -> None:
        """Send now what was written."""
        if self._parts and not self.is_closing():
            data = b"".join(self._parts).removeprefix(self._sent_ahead)
            self._written_bytes += len(data)
            self._transport.write(data)
            self._sent_ahead = b""
        self._parts.clear()

    def is_stalled(self, now_s: float, limit_s: float) -> bool:
        """Whether its client has taken nothing of what was written for so long, as far as this was asked before."""
        left_bytes = self._transport.get_write_buffer_size()
        if self._taken_bytes != self._written_bytes - left_bytes:
            self._taken_bytes, self._taken_at_s = self._written_bytes - left_bytes, now_s
        return left_bytes > 0 and now_s - self._taken_at_s >= limit_s

    def send_ahead(self) -> None:
        """Send the first bytes of the next answer, which are the same in all: a client that has gone resets it."""
        self._sent_ahead = HTTP
        self._transport.write(HTTP)


class _Flow(FlowControl):
    """Reads no further while MAX_HELD_BYTES of pipelined requests are held: else they could fill the memory."""

    def __init__(self, transport: asyncio.Transport, held: bytearray) -> None:
        super().__init__(transport)
        self._held = held

    def resume_reading(self) -> None:
        if len(self._held) <= MAX_HELD_BYTES and not self._transport.is_closing():
            super().resume_reading()

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            super().pause_reading()


class _Part(Enum):
    """What of a request comes next."""

    BEGIN = 0
    HEAD = 1
    BODY = 2


class Connection(HttpToolsProtocol):
    """A connection: answers its requests one by one.

    Whatever uvicorn or llhttp would refuse in plain text, or by closing, goes to ``app`` for a problem document, in its
    turn. An Upgrade is ignored, as a server may (RFC 9110, 7.8).
    """

    def __init__(self, app: App, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser = _parser(self)
        self._own_app = app
        self._owed: deque[RequestResponseCycle] = deque()
        """Requests that wait for their answer, this one first."""
        self._held = bytearray()
        """What came behind requests that wait for their answer, not parsed yet."""
        self._part = _Part.BEGIN
        self._is_behind = False
        """A whole request stands before in the piece that is parsed."""
        self._odd = b""
        """The line that has begun, where the parser knows no method that begins so."""
        self._is_ended = self._is_watched = self._is_lost = False
        self._lost_scope: dict[str, Any] | None = None
        """Of the request that is counted, once its client has left."""
        self._is_deaf = False
        """What comes further on is no request."""
        self._framing_bytes = 0
        """Of the request that is coming: bytes that were no body, since the last that were."""
        self._unbroken_bytes = 0
        """Since what came last ended with a whole request: a head may be as long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        self._answers = _OneWrite(transport, self._has_unread)
        super().connection_made(self._answers)  # type: ignore[arg-type]  # it is a transport by all that is used of it
        self.flow = _Flow(transport, self._held)
        # uvicorn itself waits for ever for a first request.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf or self._answers.is_closed:
            return
        if self._part is _Part.BEGIN:
            self._unset_keepalive_if_required()
        if self._held:
            self._held += data
        else:
            self._parse(data)
        if len(self._held) > MAX_HELD_BYTES:
            self.flow.pause_reading()
            self._begin_to_watch()
        self._wait_for_client()

    def _parse(self, data: bytes) -> None:
        """Parse piece by piece, until more than one request waits for its answer; hold the rest."""
        for start in range(0, len(data), PIECE_BYTES):
            if len(self._owed) > 1:
                self._held += data[start:]
                return
            self._parse_piece(data[start : start + PIECE_BYTES])
            if self._is_deaf:
                return

    def _parse_piece(self, piece: bytes) -> None:
        self._is_behind = False
        self._framing_bytes += len(piece)
        self._unbroken_bytes += len(piece)
        try:
            if self._odd:
                self._judge_odd(self._odd + piece)
            else:
                self._feed(piece)
        except httptools.HttpParserCallbackError:
            self.logger.exception("Exception in a callback of the HTTP parser")
            self._refuse(HTTPException(500, "the service failed; its log says why"))
        except httptools.HttpParserInvalidMethodError:
            self._judge_odd(piece)
        except httptools.HttpParserError as error:
            self._refuse(_no_http(piece, error))
        if self._part is _Part.BEGIN:
            self._framing_bytes = self._unbroken_bytes = 0
        elif self._framing_bytes > MAX_HEAD_BYTES:
            self._refuse(TOO_LONG_HEAD)

    def _judge_odd(self, line: bytes) -> None:
        """Refuse what begins with no method that the parser knows; if it may be one, once its target has begun."""
        is_behind = self._is_behind  # where it begins in this piece, nobody knows
        found = UNKNOWN_METHOD.finditer(line) if is_behind else [UNKNOWN_METHOD.match(line)]
        if any(one and one[0].split(b" ")[0] not in METHODS for one in found):
            self._refuse(
                ClientFault("method", 405, "expected the method GET, HEAD, POST or OPTIONS, in capitals", ALLOW)
            )
        elif METHOD_BEGINS.fullmatch(line):
            self._odd = line
        else:
            self._refuse(_no_http(line, "it begins with no method"))

    def _wait_for_client(self) -> None:
        """Give the client its time for what has to come from it now; none while it waits for an answer."""
        if self._held or (self._part is _Part.BEGIN and self._owed):
            self._unset_keepalive_if_required()
        elif self.timeout_keep_alive_task is None:
            wait_s = self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(wait_s, self.timeout_keep_alive_handler)

    def _feed(self, data: bytes) -> None:
        """Parse ``data``. Of a request that wants an upgrade, parse the head again without that wish."""
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._is_deaf:
                    return
                head = [
                    b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
                ]
                head += [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
                data = b"".join([*head, b"\r\n", data[upgrade.args[0] :]])
                self.parser = _parser(self)
            else:
                return

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio keeps the connection open if it is true
        """The client sends no more, and is answered what it asked; whether the connection stays open for that."""
        if self._is_ended:  # a connection that is read again says so again
            return True
        self._is_ended = True
        if self._held:
            self._begin_to_watch()
            return True
        return self._end()

    def _end(self) -> bool:
        if self._part is not _Part.BEGIN:
            self._refuse(ClientFault("left", 400, "the connection was ended before the request was whole"))
            self._part = _Part.BEGIN
        self._is_deaf = True
        if not self._owed:
            return False
        self._owed[-1].keep_alive = False
        if not self._owed[0].response_started:
            self._answers.send_ahead()
            self._begin_to_watch()
        return True

    def _begin_to_watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            self.loop.call_later(WATCH_S, self._watch)

    def _watch(self) -> None:
        """Find out whether a client that sends no more, or is not read, has gone: it reset the connection."""
        if not self._owed or self._answers.is_closing() or not (self._is_ended or self.flow.read_paused):
            self._is_watched = False
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:
            self.loop.call_later(WATCH_S, self._watch)

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in self._owed:
            cycle.disconnected = True
            cycle.message_event.set()
        self._unset_keepalive_if_required()
        parser = self.parser
        super().connection_lost(exc)
        if self._answers.is_closed:  # by us, who have answered all that we would
            return
        while self.pipeline:
            cycle, _ = self.pipeline.pop()
            self._own_app.left(dict(cycle.scope), is_whole=not cycle.more_body)
        if self._held and not self._is_deaf:
            self.parser, self._is_lost = parser, True
            counting = self.loop.create_task(self._count_held())
            self.tasks.add(counting)
            counting.add_done_callback(self.tasks.discard)
        elif self._part is _Part.HEAD and not self._is_deaf:
            self._own_app.left()

    async def _count_held(self) -> None:
        """Count the requests that were held, now that their client has left; others have their turn meanwhile."""
        held = bytes(self._held)
        self._held.clear()
        for start in range(0, len(held), PIECE_BYTES):
            self._parse_piece(held[start : start + PIECE_BYTES])
            if self._is_deaf:
                return
            await asyncio.sleep(0)
        if self._lost_scope or self._part is _Part.HEAD:
            self._own_app.left(self._lost_scope)

    def drop_if_stalled(self, now_s: float, limit_s: float) -> None:
        """Drop a client that has taken nothing of its answer for so long."""
        if self._answers.is_stalled(now_s, limit_s):
            self._own_app.left()
            self._answers.abort()

    def shutdown(self) -> None:
        """Take no more requests; one that is coming has STOP_WAIT_S to arrive whole."""
        if self._part is _Part.BEGIN or self._held:
            super().shutdown()
            return
        if self._part is _Part.BODY:
            self.cycle.keep_alive = False
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(STOP_WAIT_S, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        self._part = _Part.HEAD
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._part is _Part.HEAD:  # those behind a body are no part of the head
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return  # it comes again without that wish
        target = self.url
        if fault := self._fault_of_head():
            self._refuse(fault)
            return
        if self._is_lost:
            self._part = _Part.BODY
            self._lost_scope = {"path": unquote(self.url.partition(b"?")[0].decode())}
            return
        super().on_headers_complete()
        self._part = _Part.BODY
        if target == b"*":
            self.scope["path"] = "*"
        self._owed.append(self.cycle)
        if len(self._owed) > 1:
            self.flow.resume_reading()  # uvicorn has paused it

    def _fault_of_head(self) -> HTTPException | None:
        """Why the request whose head has come can't go to a route."""
        if len(self.connections) > MOST_CONNECTIONS:
            self.logger.warning("More than %d connections are open: requests are refused with 503.", MOST_CONNECTIONS)
            return HTTPException(503, "too many connections are open; try again later", {"Retry-After": "1"})
        if self._unbroken_bytes > MAX_HEAD_BYTES:
            head_bytes = (
                len(b"GET  HTTP/1.1\r\n")
                + len(self.url)
                + sum(len(name) + len(value) + 4 for name, value in self.headers)
            )
            if head_bytes > MAX_HEAD_BYTES:
                return TOO_LONG_HEAD
        return self._fault_of_version() or self._fault_of_target()

    def _fault_of_version(self) -> ClientFault | None:
        """What HTTP/1.1 or HTTP/1.0 forbids, and llhttp does not."""
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
                if not _is_host(value):
                    return ClientFault("http", 400, "expected a host, and a port if need be, in the Host header")
            elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                return ClientFault("http", 400, "expected Transfer-Encoding: chunked, or none; no other is known")
        version = self.parser.get_http_version()
        if version == "1.0":
            self.expect_100_continue = False  # a client of that version knows no answer before the answer
        elif not version.startswith("1."):  # of a later HTTP/1 all that this one knows is as in HTTP/1.1
            return ClientFault("http", 400, f"expected HTTP/1.1 or HTTP/1.0, got HTTP/{version}")
        elif hosts != 1:
            return ClientFault("http", 400, f"expected one Host header, got {hosts or 'none'}")
        return None

    def _fault_of_target(self) -> ClientFault | None:
        """Whatever stands behind the method, in the form of a path; a fault where that can't be."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            return ClientFault("method", 405, "this service is no proxy: it knows no CONNECT", ALLOW)
        if self.url.startswith(b"/"):
            return None
        if self.url == b"*" and method == b"OPTIONS":
            self.url = b"/"
            return None
        target = ABSOLUTE_TARGET.match(self.url)
        if target is None:
            return ClientFault("http", 400, "expected a path such as /infer, or a URL, behind the method")
        self.url = target[1] if target[1].startswith(b"/") else b"/" + target[1]
        return None

    def on_body(self, body: bytes) -> None:
        if not self._is_deaf:
            self._framing_bytes = 0
            if not self._is_lost:
                super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_deaf or self._part is _Part.HEAD:
            return
        self._part = _Part.BEGIN
        self._is_behind = True
        self._framing_bytes = 0
        if self._lost_scope:
            self._own_app.left(self._lost_scope, is_whole=True)
            self._lost_scope = None
        elif not self._is_lost:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self._answers.flush()  # now, not at the end of this turn: the client waits for nothing else
        self._owed.popleft()
        super().on_response_complete()
        if self._answers.is_closing():
            return
        if self._held:
            held = bytes(self._held)
            self._held.clear()
            self._parse(held)
            self.flow.resume_reading()
            if self._is_ended and not self._held and not self._end():
                self._answers.close()
        self._wait_for_client()

    def timeout_keep_alive_handler(self) -> None:
        if self._part is _Part.BEGIN:
            super().timeout_keep_alive_handler()
        else:
            self._refuse(ClientFault("slow", 408, "the request did not arrive in time"))

    def _refuse(self, error: HTTPException) -> None:
        """Answer the request that is coming with ``error`` in its turn, and read no further."""
        if self._is_deaf:
            return
        self._is_deaf = True
        if self._is_lost:
            self._part = _Part.BEGIN
            self._lost_scope = None
            self._own_app.left()
            return
        if self._part is not _Part.BODY:
            self.on_message_begin()
            self.url = b"/"
            self.app = self._own_app.refusal(error)
            super().on_headers_complete()
            self._owed.append(self.cycle)
        elif self.cycle.response_complete:
            self.transport.close()
            return
        self.cycle.scope[FAULT] = error  # type: ignore[literal-required]  # read behind the body
        self.cycle.keep_alive = self.cycle.more_body = False
        self.cycle.message_event.set()

    def _has_unread(self) -> bool:
        return self._part is not _Part.BEGIN or bool(self._held)


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

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            self._drop_stalled(WRITE_STALL_S)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is in flight, but wait for no client that does not read its answer."""
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
        for connection in list(self.server_state.connections):
            connection.drop_if_stalled(now_s, limit_s)  # type: ignore[union-attr]  # all are of our class

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first signal asks to stop, a second one to drain no longer."""
        self._is_hurried = self.should_exit
        self.should_exit = True


def _parser(callbacks: Connection) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(callbacks)
    parser.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)  # the first as uvicorn does
    return parser


@lru_cache(maxsize=64)
def _is_host(value: bytes) -> bool:
    """Whether it can stand in a Host header (RFC 9110, 7.2)."""
    found = HOST.fullmatch(value)
    return found is not None and int((found[2] or b"").lstrip(b":0") or 0) < 65536


def _no_http(data: bytes, error: object) -> ClientFault:
    """Why what came can't be parsed as a request, or as the rest of one."""
    reason = str(error)
    if data.startswith(TLS_RECORD):
        reason = "it looks like TLS: use http://"
    elif "PRI" in reason:
        reason = "it looks like HTTP/2"
    return ClientFault("http", 400, f"expected an HTTP/1.1 request; what came is none ({reason})")


def serve(app: App, host: str, port: int) -> None:
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
        http=partial(Connection, app),  # type: ignore[arg-type]  # it is called with what a class is called with
        ws="none",
        lifespan="off",
        log_config=None,  # warnings and errors alone, to stderr
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
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
