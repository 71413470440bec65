"""The load's HTTP client against services that a test scripts byte by byte."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import brotli
import gevent
import pytest
from conftest import free_port

from infra.deployments.waiting import until_true

from _client import Answer, BadStatus, Client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Replica: r\r\n\r\nok"
AT_ONCE_MS = 30_000
"""Half of the client's own limit. What takes no time is far below it, also on a machine that stalls for seconds."""
HOLD = "the connection stays open, and no answer comes"
RESET = "the connection is reset"

Script = list[Any]
"""What a service does on one connection: for each request it sends bytes, or calls a function with the socket. ``HOLD``
and ``RESET`` are last. At the end of the script it closes the connection."""


class Service:
    """``scripts`` are for one connection after the other; the last one is for all further ones too.

    ``requests`` are those that came, ``opened`` counts connections, and ``left`` those that the client has closed.
    """

    def __init__(self, scripts: tuple[Script, ...], host: str, tls: ssl.SSLContext | None) -> None:
        self.requests: list[bytes] = []
        self.opened = self.left = 0
        self._scripts, self._tls = scripts, tls
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                script = self._scripts[min(self.opened, len(self._scripts) - 1)]
                self.opened += 1
                threading.Thread(target=self._serve, args=(connection, script), daemon=True).start()

    def _serve(self, connection: socket.socket, script: Script) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._play(connection, script)
        except OSError:  # the client has left before it read the answer
            self.left += 1
        connection.close()

    def _play(self, connection: socket.socket, script: Script) -> None:
        for step in script:
            if step == RESET:
                wait_until_read(connection)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if not self._take_request(connection):
                self.left += 1
                return
            if step == HOLD:
                connection.recv(1)
                self.left += 1
            elif callable(step):
                step(connection)
            else:
                connection.sendall(step)

    def _take_request(self, connection: socket.socket) -> bool:
        taken = b""
        while b"\r\n\r\n" not in taken:
            data = connection.recv(65536)
            if not data:
                return False
            taken += data
        head, _, body = taken.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        while len(body) < size:
            body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return True


def wait_until_read(connection: socket.socket) -> None:
    """Until the client has read what it was sent, which a reset would take away; where the system does not tell, for a
    moment."""
    table = Path("/proc/self/net/tcp")
    if not table.exists():
        time.sleep(0.05)
        return
    (_, here), (_, there) = connection.getsockname()[:2], connection.getpeername()[:2]
    its_socket = re.compile(rf": \w+:{there:04X} \w+:{here:04X} \w\w \w+:0*([1-9A-F]\w*) ")
    until_s = time.monotonic() + 10
    while its_socket.search(table.read_text()) and time.monotonic() < until_s:
        time.sleep(0.001)


@contextmanager
def service(*scripts: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Service]:
    made = Service(scripts, host, tls)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def client_of(made: Service, *, keeps_connection: bool = True, url: str = "http://127.0.0.1:{}") -> Iterator[Client]:
    client = Client(url.format(made.port), "POST", {"Accept": "text/csv"}, keeps_connection=keeps_connection)
    try:
        yield client
    finally:
        client.close()


def by_bytes(answer: bytes) -> Callable[[socket.socket], None]:
    """Send each byte in a packet of its own."""

    def send(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(answer)):
            connection.sendall(answer[at : at + 1])
            time.sleep(0.0003)

    return send


def after(pause_s: float, answer: bytes) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        time.sleep(pause_s)
        connection.sendall(answer)

    return send


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """With a certificate that nobody vouches for, in the name of another host."""
    folder: Path = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=elsewhere", "-days", "2"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


@pytest.fixture
def stamps() -> Iterator[None]:
    """The kernel stamps packets from a moment after the first socket has asked for it, until the last one is closed."""
    with service([OK] * 10_000) as made, client_of(made) as client:
        until_s = time.monotonic() + 10
        while client.send(b"/infer", b"{}").client_wait_ms is None and time.monotonic() < until_s:
            time.sleep(0.01)
        yield


def test_a_connection_is_kept_for_the_next_request() -> None:
    with service([OK] * 3) as made, client_of(made) as client:
        answers = [client.send(b"/infer", b"{%d}" % number) for number in range(3)]
    assert [answer.connection_reused for answer in answers] == [False, True, True]
    assert {(answer.status_code, answer.content, answer.error, answer.retried) for answer in answers} == {
        (200, b"ok", None, False)
    }
    assert answers[0].headers == {"content-length": "2", "x-replica": "r"}
    assert made.opened == 1
    assert made.requests[2] == (
        b"POST /infer HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: fourfold\r\nAccept-Encoding: gzip, deflate, br\r\n"
        b"Accept: text/csv\r\nContent-Length: 3\r\n\r\n{2}" % made.port
    )


def test_a_connection_is_renewed_for_each_request_though_the_service_would_keep_it() -> None:
    with service([OK, OK]) as made, client_of(made, keeps_connection=False) as client:
        answers = [client.send(b"/infer", b"{}") for _ in range(3)]
    assert [(answer.content, answer.connection_reused) for answer in answers] == [(b"ok", False)] * 3
    assert made.opened == 3
    assert all(b"\r\nConnection: close\r\n" in request for request in made.requests)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
KEPT = {
    "length": (OK, 200, b"ok"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "not modified, with the length of what is not sent": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        304,
        b"",
    ),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "chunked": (CHUNKED + b"1\r\no\r\n1;a=b\r\nk\r\n0\r\n\r\n", 200, b"ok"),
    "chunked with a trailer": (CHUNKED + b"2\r\nok\r\n0\r\nX-After: 1\r\n\r\n", 200, b"ok"),
    "HTTP/1.0, kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
    "early hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Early: 1\r\n\r\n" + OK, 200, b"ok"),
    "two interim answers": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK, 200, b"ok"),
}
CLOSED = {
    "until the end": (b"HTTP/1.1 200 OK\r\n\r\nok", 200, b"ok"),
    "until the end, with an unknown coding": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", 200, b"ok"),
    "close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    "HTTP/1.0 until the end": (b"HTTP/1.0 200 OK\r\n\r\nok", 200, b"ok"),
    "until the end, with a failure": (b"HTTP/1.1 503 Busy\r\n\r\nno", 503, b"no"),
}


@pytest.mark.parametrize("send", [bytes, by_bytes], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", KEPT)
def test_an_answer_ends_where_it_says_and_the_connection_is_kept(name: str, send: Callable[[bytes], Any]) -> None:
    data, status, content = KEPT[name]
    with service([send(data), OK]) as made, client_of(made) as client:
        answer, then = client.send(b"/infer", b"{}"), client.send(b"/infer", b"{}")
    assert (answer.status_code, answer.content) == (status, content)
    assert (answer.error is None) == (status < 300)
    assert "x-early" not in answer.headers
    assert (then.content, then.connection_reused, then.retried, made.opened) == (b"ok", True, False, 1)


@pytest.mark.parametrize("send", [bytes, by_bytes], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", CLOSED)
def test_an_answer_ends_with_its_connection_and_the_next_request_opens_one(
    name: str, send: Callable[[bytes], Any]
) -> None:
    data, status, content = CLOSED[name]
    with service([send(data)], [OK]) as made, client_of(made) as client:
        answer, then = client.send(b"/infer", b"{}"), client.send(b"/infer", b"{}")
    assert (answer.status_code, answer.content) == (status, content)
    assert (answer.error is None) == (status < 300)
    assert (then.content, then.connection_reused, then.retried, made.opened) == (b"ok", False, False, 2)


@pytest.mark.parametrize("end", [[OK], [OK, RESET]], ids=["closed", "reset"])
def test_a_kept_connection_that_was_closed_is_replaced_once(end: Script) -> None:
    with service(end, [OK, OK]) as made, client_of(made) as client:
        first = client.send(b"/infer", b"{1}")
        time.sleep(0.1)
        second, third = client.send(b"/infer", b"{2}"), client.send(b"/infer", b"{3}")
    assert [(answer.content, answer.retried) for answer in (first, second, third)] == [
        (b"ok", False),
        (b"ok", True),
        (b"ok", False),
    ]
    assert [answer.connection_reused for answer in (first, second, third)] == [False, False, True]
    assert made.opened == 2


def test_a_connection_that_is_closed_when_the_request_has_come_is_replaced_once() -> None:
    with service([OK, b""], [OK]) as made, client_of(made) as client:
        client.send(b"/infer", b"{1}")
        answer = client.send(b"/infer", b"{2}")
    assert (answer.content, answer.retried, answer.error) == (b"ok", True, None)
    assert [request[-3:] for request in made.requests] == [b"{1}", b"{2}", b"{2}"]


def test_a_request_is_sent_no_third_time() -> None:
    with service([OK], [b""]) as made, client_of(made) as client:
        client.send(b"/infer", b"{1}")
        time.sleep(0.1)
        answer = client.send(b"/infer", b"{2}")
    assert "closed the connection without an answer" in str(answer.error)
    assert (answer.status_code, answer.retried, made.opened) == (0, True, 2)


def test_a_request_over_a_new_connection_is_not_sent_again() -> None:
    with service([b""], [OK]) as made, client_of(made) as client:
        answer = client.send(b"/infer", b"{}")
    assert "closed the connection without an answer" in str(answer.error)
    assert (answer.status_code, answer.retried, made.opened) == (0, False, 1)
    assert answer.response_time_ms > 0


CUT_OFF = [
    b"H",
    b"HTTP/1.1 200 OK\r\nContent-Len",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
    CHUNKED,
    CHUNKED + b"2\r\nok\r\n",
    CHUNKED + b"2\r\nok\r\n0\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200",
]


@pytest.mark.parametrize("end", [[], [RESET]], ids=["closed", "reset"])
@pytest.mark.parametrize("data", CUT_OFF)
def test_an_answer_that_is_cut_off_is_an_error_and_the_request_not_sent_again(data: bytes, end: Script) -> None:
    with service([OK, after(0, data), *end], [OK]) as made, client_of(made) as client:
        client.send(b"/infer", b"{1}")
        answer, then = client.send(b"/infer", b"{2}"), client.send(b"/infer", b"{3}")
    assert isinstance(answer.error, ConnectionError)
    assert end or "before the end of its answer" in str(answer.error)
    assert (answer.retried, answer.content, answer.client_wait_ms) == (False, b"", None)
    assert answer.status_code == (200 if b"\r\n\r\n" in data and b" 200 " in data and b" 103 " not in data else 0)
    assert answer.error.__traceback__ is None  # it would keep the answer in memory
    assert (then.content, made.opened) == (b"ok", 2)


GARBAGE = [
    b"garbage\r\n\r\n",
    b"\0" * 3000,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    CHUNKED + b"ZZ\r\nabc",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
]


@pytest.mark.parametrize("data", GARBAGE)
def test_what_is_no_answer_is_an_error_at_once(data: bytes) -> None:
    def send_and_hold(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.recv(1)

    with service([send_and_hold], [OK]) as made, client_of(made) as client:
        answer, then = client.send(b"/infer", b"{}"), client.send(b"/infer", b"{}")
    assert answer.error is not None
    assert answer.response_time_ms < AT_ONCE_MS
    assert (then.content, then.connection_reused, then.retried, made.opened) == (b"ok", False, False, 2)


@pytest.mark.parametrize("rest", [b"garbage", OK, b"HTTP/1.1 500 Oops\r\nX-Other: 1\r\nContent-Length: 3\r\n\r\nbad"])
def test_what_comes_after_an_answer_is_not_taken_for_the_next_one(rest: bytes) -> None:
    with service([OK + rest, HOLD], [OK]) as made, client_of(made) as client:
        answer, then = client.send(b"/infer", b"{}"), client.send(b"/infer", b"{}")
    assert (answer.status_code, answer.content, answer.error) == (200, b"ok", None)
    assert "x-other" not in answer.headers
    assert (then.content, then.connection_reused, then.retried, made.opened) == (b"ok", False, False, 2)


def test_long_headers_many_headers_and_long_bodies_are_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Long: %s\r\n" % (b"x" * 10**6)
    head += b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(2000))
    body, sent = b"b" * 3_000_000, b"s" * 5_000_000
    with service([head + b"Content-Length: %d\r\n\r\n" % len(body) + body]) as made, client_of(made) as client:
        answer = client.send(b"/infer", sent)
    assert (answer.error, answer.content) == (None, body)
    assert (len(answer.headers["x-long"]), answer.headers["x-1999"]) == (10**6, "1999")
    assert made.requests[0].endswith(b"\r\n\r\n" + sent)


def test_a_header_that_comes_twice_has_both_values() -> None:
    data = (
        b"HTTP/1.1 200 OK\r\nServer-Timing: a;dur=1\r\nserver-timing: b;dur=2\r\nX: \xe9\r\nContent-Length: 0\r\n\r\n"
    )
    with service([data]) as made, client_of(made) as client:
        assert client.send(b"/infer", b"{}").headers["server-timing"] == "a;dur=1, b;dur=2"


def raw_deflate(content: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(content) + squeeze.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"content")),
        ("GZIP", gzip.compress(b"content")),
        ("deflate", zlib.compress(b"content")),
        ("deflate", raw_deflate(b"content")),
        ("br", brotli.compress(b"content")),
        ("identity", b"content"),
    ],
)
def test_a_body_is_decoded(coding: str, body: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(body))
    with service([data + body]) as made, client_of(made) as client:
        answer = client.send(b"/infer", b"{}")
    assert (answer.content, answer.error) == (b"content", None)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "compress"])
@pytest.mark.usefixtures("stamps")
def test_a_body_that_can_not_be_decoded_is_a_failed_request_and_costs_no_connection(coding: str) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: 7\r\n\r\ncontent" % coding.encode()
    with service([data, OK], [OK]) as made, client_of(made) as client:
        answer, then = client.send(b"/infer", b"{}"), client.send(b"/infer", b"{}")
    assert "can't be decoded" in str(answer.error)
    assert (answer.status_code, answer.content) == (200, b"")
    assert (then.content, then.error, then.connection_reused) == (b"ok", None, True)
    assert answer.response_time_ms > 0
    assert (answer.client_wait_ms is not None) == (sys.platform == "linux")


@pytest.mark.parametrize("status", [300, 302, 307, 400, 404, 429, 500, 503, 999])
def test_any_status_but_200_to_299_is_a_failed_request_whose_answer_is_kept(status: int) -> None:
    data = b"HTTP/1.1 %d X\r\nLocation: /elsewhere\r\nContent-Length: 3\r\n\r\nwhy" % status
    with service([data, OK]) as made, client_of(made) as client:
        answer, then = client.send(b"/infer", b"{}"), client.send(b"/infer", b"{}")
    assert isinstance(answer.error, BadStatus)
    assert str(answer.error) == f"status {status}"
    assert (answer.status_code, answer.content, answer.headers["location"]) == (status, b"why", "/elsewhere")
    assert (then.error, then.connection_reused, len(made.requests)) == (None, True, 2)


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"])
def test_a_service_that_falls_silent_is_given_up(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with service([after(0, begin), HOLD], [OK]) as made, client_of(made) as client:
        with monkeypatch.context() as hurried:
            hurried.setattr(Client, "read_timeout_s", 0.3)
            answer = client.send(b"/infer", b"{}")
        then = client.send(b"/infer", b"{}")
    assert isinstance(answer.error, TimeoutError)
    assert 300 <= answer.response_time_ms < AT_ONCE_MS
    assert (then.content, then.retried, made.opened) == (b"ok", False, 2)


def test_the_time_out_is_for_each_wait_and_not_for_the_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried three times: on a busy machine one of the waits may last too long."""
    monkeypatch.setattr(Client, "read_timeout_s", 0.5)

    def drip(connection: socket.socket) -> None:
        for part in (OK[:20], OK[20:30], OK[30:]):
            time.sleep(0.25)
            connection.sendall(part)

    for _ in range(3):
        with service([drip]) as made, client_of(made) as client:
            answer = client.send(b"/infer", b"{}")
        if answer.error is None:
            break
    assert (answer.error, answer.content) == (None, b"ok")
    assert answer.response_time_ms > 700


def test_an_address_that_takes_no_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "connect_timeout_s", 0.3)
    with socket.socket() as listener, socket.socket() as one, socket.socket() as two:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (one, two):  # the queue of connections is full
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.1)
        client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", "POST", {})
        answer = client.send(b"/infer", b"{}")
    assert isinstance(answer.error, TimeoutError)
    assert 300 <= answer.response_time_ms < AT_ONCE_MS


def test_where_nobody_listens_the_request_fails_and_the_next_one_tries_again() -> None:
    client = Client(f"http://127.0.0.1:{free_port()}", "POST", {})
    for _ in range(2):
        answer = client.send(b"/infer", b"{}")
        assert isinstance(answer.error, ConnectionRefusedError)
        assert (answer.status_code, answer.headers, answer.content, answer.retried) == (0, {}, b"", False)
        assert answer.response_time_ms > 0


def test_a_name_that_nobody_knows_is_a_failed_request() -> None:
    answer = Client("http://nobody.invalid:80", "POST", {}).send(b"/infer", b"{}")
    assert isinstance(answer.error, socket.gaierror)
    assert answer.response_time_ms > 0


def test_the_next_address_of_a_name_is_tried_and_asking_for_them_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def slow(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        gevent.sleep(0.3)
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, ("127.0.0.1", free_port())), (*kind, ("127.0.0.1", port))]

    monkeypatch.setattr("_client.socket.getaddrinfo", slow)
    with service([OK]) as made, client_of(made, keeps_connection=False) as client:
        began_s = time.perf_counter()
        answers = [client.send(b"/infer", b"{}") for _ in range(2)]
        took_ms = (time.perf_counter() - began_s) * 1000
    assert [answer.error for answer in answers] == [None, None]
    assert sum(answer.response_time_ms for answer in answers) < took_ms - 250
    assert asked == ["127.0.0.1"]


def test_a_name_that_is_not_ascii_is_sent_as_dns_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    at_home = socket.getaddrinfo

    def home(_: str, port: int, **more: Any) -> list[Any]:
        return at_home("127.0.0.1", port, **more)

    monkeypatch.setattr("_client.socket.getaddrinfo", home)
    with service([OK]) as made, client_of(made, url="http://b\u00fccher.example:{}") as client:
        assert client.send(b"/infer", b"{}").error is None
    assert b"\r\nHost: xn--bcher-kva.example:%d\r\n" % made.port in made.requests[0]


def test_ipv6_is_spoken() -> None:
    with service([OK], host="::1") as made, client_of(made, url="http://[::1]:{}") as client:
        answer = client.send(b"/infer", b"{}")
    assert (answer.error, answer.content) == (None, b"ok")
    assert b"\r\nHost: [::1]:%d\r\n" % made.port in made.requests[0]


def close_politely(connection: Any) -> None:
    connection.sendall(OK)
    connection.unwrap()


@pytest.mark.parametrize("end", [[OK], [OK, RESET], [close_politely]], ids=["closed", "reset", "closed politely"])
def test_tls_is_spoken_with_any_certificate_and_a_closed_connection_replaced(tls: ssl.SSLContext, end: Script) -> None:
    with service([OK, *end], [OK, OK], tls=tls) as made, client_of(made, url="https://127.0.0.1:{}") as client:
        answers = [client.send(b"/infer", b"{}") for _ in range(2)]
        time.sleep(0.1)
        answers += [client.send(b"/infer", b"{}") for _ in range(2)]
    assert [(answer.content, answer.error) for answer in answers] == [(b"ok", None)] * 4
    assert [answer.connection_reused for answer in answers] == [False, True, False, True]
    assert [answer.retried for answer in answers] == [False, False, True, False]


def test_a_service_that_speaks_no_tls_is_an_error() -> None:
    def greet(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.sendall(b"220 this is no TLS\r\n")
        connection.recv(65536)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=greet, args=(listener,), daemon=True).start()
        answer = Client(f"https://127.0.0.1:{listener.getsockname()[1]}", "POST", {}).send(b"/infer", b"{}")
    assert isinstance(answer.error, ssl.SSLError)
    assert answer.status_code == 0


def test_path_user_and_password_of_the_address_are_used_and_the_password_is_not_told() -> None:
    url = "http://me%40here:se%3Acret@127.0.0.1:{}/a/b é/"
    with service([OK]) as made, client_of(made, url=url.replace(" ", "")) as client:
        assert client.send(b"/infer", b"{}").error is None
        assert client.base_url == f"http://127.0.0.1:{made.port}/a/bé"
    assert made.requests[0].startswith(b"POST /a/b%C3%A9/infer HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Basic bWVAaGVyZTpzZTpjcmV0\r\n" in made.requests[0]


def test_proxies_in_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with service([OK]) as made, client_of(made) as client:
        assert client.send(b"/infer", b"{}").error is None


def test_small_packets_are_sent_at_once() -> None:
    with service([OK]) as made, client_of(made) as client:
        client.send(b"/infer", b"{}")
        assert client._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_response_time_ends_with_the_last_byte() -> None:
    def in_two(connection: socket.socket) -> None:
        connection.sendall(OK[:-1])
        time.sleep(0.2)
        connection.sendall(OK[-1:])

    with service([OK, in_two]) as made, client_of(made) as client:
        client.send(b"/infer", b"{}")
        began_unix_s = time.time()
        answer = client.send(b"/infer", b"{}")
        ended_unix_s = time.time()
    assert answer.response_time_ms >= 200
    assert began_unix_s <= answer.started_at_unix_s
    assert answer.started_at_unix_s + answer.response_time_ms / 1000 < ended_unix_s + 0.01


def test_the_response_time_includes_opening_the_connection(tls: ssl.SSLContext) -> None:
    class Slow:
        def wrap_socket(self, connection: socket.socket, *, server_side: bool) -> ssl.SSLSocket:
            time.sleep(0.2)
            return tls.wrap_socket(connection, server_side=server_side)

    slow: Any = Slow()
    with (
        service([OK], tls=slow) as made,
        client_of(made, keeps_connection=False, url="https://127.0.0.1:{}") as client,
    ):
        assert client.send(b"/infer", b"{}").response_time_ms >= 200


def test_a_request_that_is_sent_again_is_timed_from_the_first_time() -> None:
    with service([OK, after(0.2, b"")], [OK]) as made, client_of(made) as client:
        client.send(b"/infer", b"{}")
        answer = client.send(b"/infer", b"{}")
    assert answer.retried
    assert answer.response_time_ms >= 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when the bytes of a connection arrived")
@pytest.mark.usefixtures("stamps")
def test_how_long_an_answer_waited_for_a_busy_client_is_told() -> None:
    """The test is the busy client: one thread, in which the user's greenlet can't run while the test sleeps."""
    sent: list[tuple[float, float]] = []
    is_busy, has_sent = threading.Event(), threading.Event()

    def send(connection: socket.socket) -> None:
        assert is_busy.wait(10)
        before_unix_s = time.time()
        connection.sendall(OK)
        sent.append((before_unix_s, time.time()))
        has_sent.set()

    def waited_as_said(answer: Answer) -> bool:
        """Between the answer's arrival, which was while it was sent, and its end."""
        longest, shortest = ((answer.started_at_unix_s - at) * 1000 + answer.response_time_ms for at in sent.pop(0))
        return answer.client_wait_ms is not None and shortest - 2 < answer.client_wait_ms < longest + 2

    with service([OK, send, send]) as made, client_of(made) as client:
        client.send(b"/infer", b"{}")
        asking = gevent.spawn(client.send, b"/infer", b"{}")
        with gevent.Timeout(10):
            while len(made.requests) < 2:
                gevent.sleep(0.001)
        is_busy.set()
        assert has_sent.wait(10)
        time.sleep(0.25)
        busy = asking.get()
        idle = client.send(b"/infer", b"{}")
        assert until_true(lambda: len(sent) == 2, 10)
    assert waited_as_said(busy)
    assert waited_as_said(idle)
    assert (busy.client_wait_ms or 0) >= 250


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when the bytes of a connection arrived")
@pytest.mark.parametrize("off_ns", [-(10**10), 10**10])
@pytest.mark.usefixtures("stamps")
def test_a_clock_that_was_set_tells_no_wait(off_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    true_ns = time.time_ns
    monkeypatch.setattr("_client.time.time_ns", lambda: true_ns() + off_ns)
    with service([OK]) as made, client_of(made) as client:
        assert client.send(b"/infer", b"{}").client_wait_ms is None


def test_where_the_system_gives_no_stamps_no_wait_is_told(monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext) -> None:
    with service([OK], tls=tls) as made, client_of(made, url="https://127.0.0.1:{}") as client:
        assert client.send(b"/infer", b"{}").client_wait_ms is None
    monkeypatch.setattr("_client.TAKES_STAMPS", False)
    with service([OK]) as made, client_of(made) as client:
        answer = client.send(b"/infer", b"{}")
    assert (answer.content, answer.client_wait_ms) == (b"ok", None)


def test_a_user_that_is_stopped_leaves_its_connection_and_reads_no_old_answer() -> None:
    with service([OK, HOLD], [OK]) as made, client_of(made) as client:
        client.send(b"/infer", b"{}")
        asking = gevent.spawn(client.send, b"/infer", b"{}")
        gevent.sleep(0.05)
        asking.kill()
        answer = client.send(b"/infer", b"{}")
        assert until_true(lambda: made.left == 1, 10)
    assert (answer.content, answer.connection_reused, answer.retried) == (b"ok", False, False)
    assert made.opened == 2
