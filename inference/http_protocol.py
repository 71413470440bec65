"""The HTTP side of a connection: from the bytes that come to requests for the app, in order and within limits."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from enum import Enum
from functools import partial
from typing import Any
from urllib.parse import unquote

import httptools
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from inference.app import App
from inference.http_rules import (
    MAX_HEAD_BYTES,
    fault_of_method,
    fault_of_version,
    head_bytes,
    long_head,
    no_http,
    path_of,
)
from inference.http_transport import MAX_HELD_BYTES, BoundedFlow, OneWrite
from inference.refusals import FAULT, ClientFault

MOST_CONNECTIONS = 10_000

STOP_WAIT_S = 1.0
"""When the service stops, a request that has begun may take this long to arrive whole."""

WATCH_S = 0.01
"""How often the service looks whether a client has gone that sends no more and waits for an answer."""

PIECE_BYTES = 1024
"""How many bytes are parsed at a time. They hold few requests; each takes some kB of memory until it is answered."""


class _Part(Enum):
    """Which part of a request comes next."""

    BEGIN = 0
    HEAD = 1
    BODY = 2


class Connection(HttpToolsProtocol):
    """A connection. Its requests are answered one after the other.

    uvicorn and the parser (llhttp) would refuse some requests in plain text or by closing the connection. Here ``app``
    refuses them with a problem document, when it is their turn. An Upgrade is ignored (RFC 9110, 7.8, allows that).

    A connection is in ``sending``, which all share, from each answer until ``drop_if_stalled`` sees that all of it is
    sent.
    """

    def __init__(self, app: App, sending: set[Connection], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser = _parser(self)
        self._own_app = app
        self._sending = sending
        self._owed: deque[RequestResponseCycle] = deque()
        """Requests that wait for their answer. The first one is being answered."""
        self._held = bytearray()
        """What came behind those requests and is not parsed yet."""
        self._part = _Part.BEGIN
        self._is_behind = False
        """The piece that is parsed holds the end of an earlier request."""
        self._odd = b""
        """The beginning of a line, if the parser knows no method that begins so."""
        self._is_ended = self._is_watched = self._is_lost = False
        self._lost_scope: dict[str, Any] | None = None
        """The scope of the request that is being counted after its client has left."""
        self._is_surplus = False
        """It was opened while as many connections were open as there may be."""
        self._is_deaf = False
        """No more requests are read."""
        self._framing_bytes = 0
        """How many bytes of the coming request were no body, since the last part of a body."""
        self._unbroken_bytes = 0
        """How many bytes came since a piece ended with a whole request. No head is longer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        self._answers = OneWrite(transport, self._has_unread, partial(self._sending.add, self))
        super().connection_made(self._answers)  # type: ignore[arg-type]  # it has all methods that are used
        self._is_surplus = len(self.connections) > MOST_CONNECTIONS
        self.flow = BoundedFlow(transport, self._held)
        # Without this, uvicorn would wait forever for the first request.
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
        """Parse piece by piece until two requests wait for their answers. Hold the rest."""
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
            self._refuse(no_http(piece, error))
        if self._part is _Part.BEGIN:
            self._framing_bytes = self._unbroken_bytes = 0
        elif self._framing_bytes > MAX_HEAD_BYTES:
            self._refuse(long_head())

    def _judge_odd(self, line: bytes) -> None:
        """Refuse a line that begins with no method that the parser knows, as soon as enough of it has come."""
        if fault := fault_of_method(line, is_behind=self._is_behind):
            self._refuse(fault)
        else:
            self._odd = line

    def _wait_for_client(self) -> None:
        """Start the client's time limit if it has to send something now; stop it if the client waits for an answer."""
        if self._held or (self._part is _Part.BEGIN and self._owed):
            self._unset_keepalive_if_required()
        elif self.timeout_keep_alive_task is None:
            wait_s = self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(wait_s, self.timeout_keep_alive_handler)

    def _feed(self, data: bytes) -> None:
        """Parse ``data``. If a request asks for an upgrade, parse its head again without that header."""
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
        """The client sends no more, but still gets its answers; whether the connection stays open for them."""
        if self._answers.is_closed:  # after the last answer; the client was only given time to read it
            return False
        if self._is_ended:  # the event loop reports it again after reading was paused
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
        """Find out whether the client has reset the connection, while the service reads nothing from it."""
        if not self._owed or self._answers.is_closing() or not (self._is_ended or self.flow.read_paused):
            self._is_watched = False
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:
            self.loop.call_later(WATCH_S, self._watch)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sending.discard(self)
        for cycle in self._owed:
            cycle.disconnected = True
            cycle.message_event.set()
        self._unset_keepalive_if_required()
        parser = self.parser
        super().connection_lost(exc)
        if self._answers.is_closed:  # by the service, after its last answer
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
        """Count the held requests of a client that has left. Other connections have their turn in between."""
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
        """Drop the client if it has read nothing of its answer for ``limit_s``."""
        if self._answers.is_sent():
            self._sending.discard(self)
        elif self._answers.is_stalled(now_s, limit_s):
            self._own_app.left()
            self._answers.abort()

    def shutdown(self) -> None:
        """Take no more requests. A request that has begun has STOP_WAIT_S to arrive whole."""
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
        if self._part is _Part.HEAD:  # a trailer is no part of the head
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return  # _feed parses the head again
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
        """Why the request whose head has come can't go to a route. Its target becomes a path."""
        if self._is_surplus and len(self.connections) > MOST_CONNECTIONS:
            self.logger.warning("More than %d connections are open: new ones get 503.", MOST_CONNECTIONS)
            return HTTPException(503, "too many connections are open; try again later", {"Retry-After": "1"})
        if self._unbroken_bytes > MAX_HEAD_BYTES and head_bytes(self.url, self.headers) > MAX_HEAD_BYTES:
            return long_head()
        version = self.parser.get_http_version()
        if fault := fault_of_version(version, self.headers):
            return fault
        if version == "1.0":
            self.expect_100_continue = False  # such a client knows no 100 Continue
        path = path_of(self.parser.get_method(), self.url)
        if isinstance(path, ClientFault):
            return path
        self.url = path
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
        self._answers.flush()  # not at the end of this turn: the client waits for this
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
        """Answer the coming request with ``error`` when it is its turn, and read no more."""
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
        self.cycle.scope[FAULT] = error  # type: ignore[literal-required]  # the app reads it after the body
        self.cycle.keep_alive = self.cycle.more_body = False
        self.cycle.message_event.set()

    def _has_unread(self) -> bool:
        return self._part is not _Part.BEGIN or bool(self._held)


def _parser(callbacks: Connection) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(callbacks)
    parser.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)  # the first as uvicorn does
    return parser
