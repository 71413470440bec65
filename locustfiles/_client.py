"""A lean HTTP/1.1 client for one user and one address: a socket of gevent, and httptools (llhttp) to read answers.

What it does per request is little, so that the response time is that of the service. It follows no redirect, keeps no
cookie, checks no certificate, and ignores the proxies that the environment names.
"""

from __future__ import annotations

import math
import random
import re
import struct
import sys
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import brotli
from gevent import socket, ssl
from httptools import HttpParserError, HttpResponseParser

import addresses
from runfiles.reconnect import ReconnectEvery
from servicefile.texts import SENT_AS_IT_IS

READ_BYTES = 65536

SO_TIMESTAMPNS = 35
"""Linux, asm-generic/socket.h. Python has no name for it."""
TIMESPEC = struct.Struct("ll")
STAMP_SPACE = socket.CMSG_SPACE(TIMESPEC.size)

TAKES_STAMPS = sys.platform == "linux"
"""Whether the kernel says when the bytes of a TCP connection arrived."""

CODINGS = "gzip, deflate, br"
"""Those that ``_decoded`` knows."""

SPREAD = 0.1
"""The seconds after which a connection is replaced differ by up to this part, at random: users that begin together
would go on to reconnect together. With 50 users and 1 s, 8 to 16 others opened a connection within 5 ms of one; with
this spread it was 1 or 2. Users that count requests drift apart by themselves."""

CLOSED = (ConnectionError, ssl.SSLEOFError)
"""How a connection fails that the service has closed."""


class Answer:
    """One answer, or why there is none (``error``; then ``status_code`` may be 0 and ``content`` empty).

    ``headers`` have lower-case names; the values of a header that came several times are joined by commas.
    ``response_time_ms`` lasts from the first byte handed to the kernel to the last byte read. If the request opened its
    connection, it begins with that: the first thing that is sent is then the connection's SYN. If the request was sent
    again, it begins with the first time. In an open workload it begins when the request was due: ``send_delay_ms`` is
    the part before it was sent; None: closed workload. ``client_wait_ms`` is the end of it: how long the last bytes had
    been here when they were read; None: the system does not tell. ``reconnected``: it opened a connection in place of
    another, as ``ReconnectEvery`` says; closing that one is a part of the response time too.
    """

    __slots__ = (
        "client_wait_ms",
        "connection_reused",
        "content",
        "error",
        "headers",
        "reconnected",
        "response_time_ms",
        "retried",
        "send_delay_ms",
        "started_at_unix_s",
        "status_code",
    )

    def __init__(self) -> None:
        self.status_code = 0
        self.headers: dict[str, str] = {}
        self.content = b""
        self.error: Exception | None = None
        self.started_at_unix_s = time.time()
        self.response_time_ms = 0.0
        self.client_wait_ms: float | None = None
        self.send_delay_ms: float | None = None
        self.connection_reused = self.retried = self.reconnected = False


class BadStatus(Exception):
    """The status of an answer is not the expected one, or not one of 200 to 299. Redirects count as failed: whoever
    gave the address should name the service itself."""


class BadAnswer(Exception):
    """The body of an answer lacks what each answer has."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer must be. ``status`` None: any of 200 to 299. ``pattern``: what its body matches somewhere."""

    status: int | None = None
    pattern: re.Pattern[bytes] | None = None

    def why_not(self, status: int, content: bytes) -> Exception | None:
        """What is wrong with an answer; None: nothing."""
        if not 200 <= status < 300 if self.status is None else status != self.status:
            return BadStatus(f"status {status}")
        if self.pattern is not None and not self.pattern.search(content):
            return BadAnswer(f"the answer has no {self.pattern.pattern.decode()}")
        return None


class Client:
    """Sends requests below ``base_url``, one at a time, over one connection that it keeps or renews.

    ``headers`` are sent with each request. An answer that is not as ``expected`` is one that failed. ``places`` are the
    addresses of the host, as another client found them; it looks for them itself if there are none.
    ``reconnect_every``: when the connection is replaced by a new one, between two requests; None: never.

    Raises:
        addresses.NotAnAddress: ``base_url`` is no address of a service.
    """

    connect_timeout_s = 60.0
    read_timeout_s = 60.0
    """For each wait for bytes, not for the whole answer. Both are those of Locust's FastHttpUser."""

    def __init__(
        self,
        base_url: str,
        method: str,
        headers: Mapping[str, str],
        expected: Expected = Expected(),
        *,
        keeps_connection: bool = True,
        places: Sequence[Any] = (),
        reconnect_every: ReconnectEvery | None = None,
    ) -> None:
        address = addresses.parse(base_url)
        self.base_url = addresses.without_password(address.url)
        self._expected = expected
        self._host, self._port = address.host, address.port
        self._tls = _unverified() if address.scheme == "https" else None
        self._keeps_connection = keeps_connection
        self._begin, self._head = _begin(method, address), _head(address, headers, keeps_connection)
        self.places = list(places)
        self._reconnect_every = reconnect_every
        self._socket: Any = None
        self._worn_out_at_s = math.inf
        self._requests_sent = 0  # over this connection
        self._parser: Any = None
        self._takes_stamps = False
        # Of the answer that is read now; _begin_answer sets them anew.
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._stamps: list[tuple[int, int, bytes]] = []
        self._has_read = self._is_whole = self._is_reusable = False
        self._read_at_s = 0.0
        self._read_at_unix_ns = 0

    def send(
        self,
        target: bytes,
        body: bytes,
        while_waiting: Callable[[], None] | None = None,
        due_s: float | None = None,
    ) -> Answer:
        """Send one request and read its answer. What fails on the way is the answer's ``error``.

        ``target`` is the path with the query, as it is sent. ``while_waiting`` is called each time that the request has
        been sent. It must not raise. ``due_s``: when it was due, by ``time.perf_counter``; None: just now.
        """
        request = b"%s%s%s%d\r\n\r\n%s" % (self._begin, target, self._head, len(body), body)
        self._begin_answer()
        answer = Answer()
        began_s = time.perf_counter()
        try:
            if not self.places:  # asking for the name's address is no part of the response time
                self.places = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                answer.started_at_unix_s, began_s = time.time(), time.perf_counter()
            if due_s is not None:
                answer.send_delay_ms = (began_s - due_s) * 1000
                answer.started_at_unix_s -= began_s - due_s
                began_s = due_s
            self._exchange(request, answer, while_waiting)
            answer.response_time_ms = (self._read_at_s - began_s) * 1000
            answer.client_wait_ms = self._waited_ms(answer.response_time_ms)
            answer.content = _decoded(b"".join(self._body), self._headers.get("content-encoding", ""))
            answer.error = self._expected.why_not(self._status, answer.content)
        except Exception as error:  # a request that fails, however it does, is one that is counted
            answer.error = error.with_traceback(None)  # its frames hold the answer
            if not answer.response_time_ms:
                answer.response_time_ms = (time.perf_counter() - began_s) * 1000
        except BaseException:  # the user is stopped
            self.close()
            raise
        answer.status_code, answer.headers = self._status, self._headers
        if not self._is_reusable:
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, request: bytes, answer: Answer, while_waiting: Callable[[], None] | None) -> None:
        """Send the request and read the answer.

        If a connection that was kept turns out to be closed before anything of the answer was read, the request is sent
        once more, over a new one (RFC 9112, 9.3.1).
        """
        if self._socket is not None and self._is_worn_out():
            self.close()
            answer.reconnected = True
        if self._socket is not None:
            try:
                self._send_and_read(request, while_waiting)
            except CLOSED:
                if self._has_read:
                    raise
                self.close()
                answer.retried = True
            else:
                answer.connection_reused = True
                return
        self._open()
        self._send_and_read(request, while_waiting)

    def _open(self) -> None:
        """Open a connection to the first of the name's addresses that takes one."""
        places, self.places = self.places, []
        for at, (family, kind, protocol, _, place) in enumerate(places):
            opened = socket.socket(family, kind, protocol)
            try:
                opened.settimeout(self.connect_timeout_s)
                opened.connect(place)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is not None:
                    opened = self._tls.wrap_socket(opened, server_hostname=self._host)
                opened.settimeout(self.read_timeout_s)
            except OSError:
                opened.close()
                if at == len(places) - 1:
                    raise
            except BaseException:
                opened.close()
                raise
            else:
                break
        self.places = places[at:]
        self._takes_stamps = TAKES_STAMPS and self._tls is None
        if self._takes_stamps:
            with suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket, self._parser = opened, HttpResponseParser(self)
        self._requests_sent = 0
        if self._reconnect_every is not None and self._reconnect_every.seconds is not None:
            lives_s = self._reconnect_every.seconds * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311  no secret
            self._worn_out_at_s = time.perf_counter() + lives_s

    def _is_worn_out(self) -> bool:
        """Whether it is time for a new connection."""
        every = self._reconnect_every
        if every is None:
            return False
        if every.requests is not None:
            return self._requests_sent >= every.requests
        return time.perf_counter() >= self._worn_out_at_s

    def _send_and_read(self, request: bytes, while_waiting: Callable[[], None] | None) -> None:
        self._requests_sent += 1
        sent = self._socket.send(request)
        if sent < len(request):
            self._socket.sendall(request[sent:])
        if while_waiting is not None:
            while_waiting()
        while not self._is_whole:
            data = self._receive()
            self._read_at_s, self._read_at_unix_ns = time.perf_counter(), time.time_ns()
            if not data:
                self._end_of_stream()
                return
            self._has_read = True
            try:
                self._parser.feed_data(data)
            except HttpParserError:
                if not self._is_whole:  # or else it came after the answer, and on_message_begin has noted that
                    raise

    def _receive(self) -> bytes:
        if not self._takes_stamps:
            return self._socket.recv(READ_BYTES)  # type: ignore[no-any-return]
        data, self._stamps, _, _ = self._socket.recvmsg(READ_BYTES, STAMP_SPACE)
        return data  # type: ignore[no-any-return]

    def _end_of_stream(self) -> None:
        """The service has closed the connection: the end of an answer of which it did not say how long it is."""
        if not self._has_read:
            raise ConnectionResetError("the service closed the connection without an answer")
        is_framed = "content-length" in self._headers or "chunked" in self._headers.get("transfer-encoding", "")
        if is_framed or not self._status:
            raise ConnectionResetError("the service closed the connection before the end of its answer")

    def _waited_ms(self, took_ms: float) -> float | None:
        """How long the last bytes lay in the kernel before they were read, of an answer that took ``took_ms``."""
        for level, kind, stamp in self._stamps:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = TIMESPEC.unpack(stamp)
                waited_ms = (self._read_at_unix_ns - seconds * 1_000_000_000 - nanoseconds) / 1e6
                return waited_ms if 0 <= waited_ms <= took_ms else None  # the clock was set
        return None

    def _begin_answer(self) -> None:
        self._status, self._headers, self._body = 0, {}, []
        self._has_read = self._is_whole = self._is_reusable = False

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self._is_whole:
            self._is_reusable = False  # a second answer, which nobody asked for
        else:
            self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_whole:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self._is_whole:  # after a status of 100 to 199 another answer comes
            self._status = status

    def on_body(self, data: bytes) -> None:
        if not self._is_whole:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._status and not self._is_whole:
            self._is_whole = True
            self._is_reusable = self._keeps_connection and self._parser.should_keep_alive()


def _begin(method: str, address: addresses.Address) -> bytes:
    """A request up to the path of the service."""
    return f"{method} {quote(address.path, safe=SENT_AS_IT_IS)}".encode("latin-1")


def _head(address: addresses.Address, headers: Mapping[str, str], keeps_connection: bool) -> bytes:
    """A request from behind its target up to the value of Content-Length, which is its last header."""
    host = addresses.bracketed(address.host.partition("%")[0])  # the zone of an IPv6 address is of this machine only
    if not host.isascii():
        host = host.encode("idna").decode()
    place = host if address.port == addresses.SCHEMES[address.scheme] else f"{host}:{address.port}"
    own = {"Host": place, "User-Agent": "fourfold", "Accept-Encoding": CODINGS}
    parts = urlsplit(address.url)
    if parts.username and parts.password:
        user = f"{unquote(parts.username)}:{unquote(parts.password)}"
        own["Authorization"] = f"Basic {b64encode(user.encode('latin-1')).decode()}"
    if not keeps_connection:
        own["Connection"] = "close"
    lines = [" HTTP/1.1", *(f"{name}: {value}" for name, value in (own | dict(headers)).items())]
    return ("\r\n".join(lines) + "\r\nContent-Length: ").encode("latin-1")


def _unverified() -> Any:
    """TLS as Locust's own users have it: any certificate will do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _decoded(content: bytes, coding: str) -> bytes:
    """The content without its coding.

    Raises:
        ValueError: it can't be decoded.
    """
    coding = coding.lower()
    try:
        if coding in ("", "identity"):
            return content
        if coding == "gzip":
            return zlib.decompress(content, zlib.MAX_WBITS | 16)
        if coding == "deflate":
            return _inflated(content)
        if coding == "br":
            return brotli.decompress(content)  # type: ignore[no-any-return]
    except (zlib.error, brotli.error) as error:
        raise ValueError(f"the body can't be decoded: {error}") from error
    raise ValueError(f"the body can't be decoded: unknown content encoding {coding}")


def _inflated(content: bytes) -> bytes:
    """Many send raw deflate, though the standard has it in zlib's format (RFC 9110, 8.4.1.2)."""
    try:
        return zlib.decompress(content, -zlib.MAX_WBITS)
    except zlib.error:
        return zlib.decompress(content)
