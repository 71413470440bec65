"""Bytes that come over a connection: legal requests get their answer, all others a problem document.

Each case is sent to the real service. If the connection stays open, another request has to be answered over it.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import uvicorn
from conftest import ROOT, Service, start_service, stop, wait_for

from inference import http_protocol, server
from inference.metrics_log import FILE_FAULTS
from inference.refusals import FAULTS

BODY = b'{"text": "good film"}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)


def head(
    headers: bytes = b"",
    *,
    line: bytes = b"POST /infer HTTP/1.1",
    host: bytes = b"Host: x\r\n",
    content_type: bytes = b"application/json",
    length: int | None = len(BODY),
) -> bytes:
    declared = b"" if length is None else b"Content-Length: %d\r\n" % length
    return line + b"\r\n" + host + b"Content-Type: " + content_type + b"\r\n" + headers + declared + b"\r\n"


def chunks(body: bytes, size: int, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n" + trailers + b"\r\n"


def infer(body: bytes, headers: bytes = b"", content_type: bytes = b"application/json") -> bytes:
    return head(headers, length=len(body), content_type=content_type) + body


def send(service: Service, *parts: bytes, is_ended: bool = False) -> bytes:
    """Send the parts one after the other; all answers until the service closes the connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            client.sendall(part)
            if part is not parts[-1]:
                time.sleep(0.01)
        if is_ended:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
        return answer


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", answer)]


def test_the_case_of_an_upgrade_with_a_body_is_answered(shared_service: Service) -> None:
    for upgrade in (H2C, WEBSOCKET, b"Connection: upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n", b"Upgrade: h2c\r\n"):
        request = head(upgrade) + BODY
        for parts in (
            [request, LAST],
            [request + LAST],
            [head(upgrade), BODY, LAST],
            [head(upgrade)[:50], head(upgrade)[50:] + BODY[:3], BODY[3:] + LAST],
            [head(upgrade + CHUNKED, length=None) + chunks(BODY, 5, b";a=b", b"X: y\r\n"), LAST],
        ):
            answer = send(shared_service, *parts)
            assert statuses(answer) == [200, 200], parts
            assert b"good film" in answer


LEGAL: dict[str, tuple[bytes, list[int]]] = {
    "HTTP/1.0": (head(line=b"POST /infer HTTP/1.0") + BODY, [200]),
    "HTTP/1.0 without Host": (head(line=b"POST /infer HTTP/1.0", host=b"") + BODY, [200]),
    "HTTP/1.0 knows no 100": (head(b"Expect: 100-continue\r\n", line=b"POST /infer HTTP/1.0") + BODY, [200]),
    "empty Host": (head(host=b"Host:\r\n") + BODY + LAST, [200, 200]),
    "absolute form": (head(line=b"POST http://x:1/infer?a=b HTTP/1.1") + BODY + LAST, [200, 200]),
    "percent-encoded": (head(line=b"POST /%69nfer HTTP/1.1") + BODY + LAST, [200, 200]),
    "query": (head(line=b"POST /infer?a=%zz HTTP/1.1") + BODY + LAST, [200, 200]),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" + LAST, [204, 200]),
    "OPTIONS": (b"OPTIONS /infer HTTP/1.1\r\nHost: x\r\n\r\n" + LAST, [204, 200]),
    "upgrade of a GET": (HEALTH[:-2] + H2C + b"\r\n" + LAST, [200, 200]),
    "upgrade of a HEAD": (b"HEAD /health HTTP/1.1\r\nHost: x\r\n" + H2C + b"\r\n" + LAST, [200, 200]),
    "upgrades in a row": ((head(H2C) + BODY) * 3 + LAST, [200] * 4),
    "upgrade and close": (head(b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n") + BODY, [200]),
    "upgrade and expect": (head(H2C + b"Expect: 100-continue\r\n") + BODY + LAST, [100, 200, 200]),
    "chunks of a byte": (head(CHUNKED, length=None) + chunks(BODY, 1) + LAST, [200, 200]),
    "chunk extensions": (head(CHUNKED, length=None) + chunks(BODY, 4, b';n="v"') + LAST, [200, 200]),
    "trailers": (
        head(CHUNKED, length=None) + chunks(BODY, 4, trailers=b"Content-Type: text/plain\r\nHost: y\r\n") + LAST,
        [200, 200],
    ),
    "expect": (head(b"Expect: 100-continue\r\n") + BODY + LAST, [100, 200, 200]),
    "long head": (head(b"X: " + b"a" * 60_000 + b"\r\n") + BODY + LAST, [200, 200]),
    "many headers": (head(b"a: b\r\n" * 9_000) + BODY + LAST, [200, 200]),
    "long Accept": (head(b"Accept: a/b" + b";" * 60_000 + b"\r\n") + BODY + LAST, [200, 200]),
    "GET with a body": (HEALTH[:-2] + b"Content-Length: 5\r\n\r\nhello" + LAST, [200, 200]),
    "HEAD": (b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\nHEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n" + LAST, [200] * 3),
    "line breaks first": (b"\r\n\r\n" + head() + BODY + LAST, [200, 200]),
    "pipelined": ((head() + BODY) * 50 + LAST, [200] * 51),
    "charset": (infer(BODY, content_type=b'Application/JSON ; charset="UTF-8"') + LAST, [200, 200]),
    "byte order mark": (infer(b"\xef\xbb\xbf" + BODY) + LAST, [200, 200]),
    "UTF-16": (infer(BODY.decode().encode("utf-16")) + LAST, [200, 200]),
    "identity": (infer(BODY, b"Content-Encoding: identity\r\n") + LAST, [200, 200]),
    "a long number": (infer(b'{"text": "a", "n": ' + b"9" * 5_000 + b"}") + LAST, [200, 200]),
    "a huge number": (infer(b'{"text": "a", "n": -1e99999}') + LAST, [200, 200]),
    "a length of many digits": (
        head(b"Content-Length: " + b"0" * 5_000 + b"21\r\n", length=None) + BODY + LAST,
        [200] * 2,
    ),
    "HTTP/1.2": (head(line=b"POST /infer HTTP/1.2") + BODY + LAST, [200, 200]),
    "underscore": (head(line=b"POST http://my_service:5000/infer HTTP/1.1") + BODY + LAST, [200, 200]),
    "empty port": (head(line=b"POST http://x:/infer HTTP/1.1") + BODY + LAST, [200, 200]),
    "IPv6": (head(line=b"POST http://[::1]:80/infer?a HTTP/1.1", host=b"Host: [::1]:80\r\n") + BODY + LAST, [200, 200]),
    "Host with an underscore": (head(host=b"Host: my_service:05000\r\n") + BODY + LAST, [200, 200]),
    "long Content-Type": (
        infer(BODY, content_type=b"application/json; a=" + b"x" * 300 + b"; charset=utf-8") + LAST,
        [200] * 2,
    ),
    "a key twice": (infer(b'{"text": 5, "text": "b"}') + LAST, [200, 200]),
    "half a pair beside": (infer(b'{"text": "a", "\\ud800": "\\udfff"}') + LAST, [200, 200]),
}


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_legal_is_answered(shared_service: Service, name: str) -> None:
    sent, expected = LEGAL[name]
    assert statuses(send(shared_service, sent)) == expected


def test_a_long_path_that_begins_behind_another_request_is_refused(shared_service: Service) -> None:
    legal, too_long = head() + BODY, head(line=b"POST /" + b"a" * 70_000 + b" HTTP/1.1")
    assert statuses(send(shared_service, legal + too_long[:66_000], too_long[66_000:])) == [200, 431]


def test_all_bytes_apart_are_a_request_too(shared_service: Service) -> None:
    sent = head(H2C) + BODY + LAST
    with socket.create_connection(("127.0.0.1", shared_service.port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in sent:
            client.sendall(bytes([byte]))
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert statuses(answer) == [200, 200]


REFUSED: dict[str, tuple[bytes, list[int], str]] = {
    "no Host": (head(host=b"") + BODY, [400], "one Host header, got none"),
    "two Hosts": (head(host=b"Host: a\r\nHost: b\r\n") + BODY, [400], "one Host header, got 2"),
    "no path": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", [400], "expected a path"),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\nxxxx", [405], "no CONNECT"),
    "CONNECT to a path": (b"CONNECT /infer HTTP/1.1\r\nHost: a\r\n\r\n", [405], "no CONNECT"),
    "lower case": (head(line=b"post /infer HTTP/1.1") + BODY, [405], "in capitals"),
    "unknown method": (head(line=b"FOO /infer HTTP/1.1") + BODY, [405], "GET, HEAD, POST or OPTIONS"),
    "other method": (head(line=b"PATCH /infer HTTP/1.1") + BODY + LAST, [405, 200], "expected POST, got PATCH"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400], "HTTP/2"),
    "HTTP/2.0": (head(line=b"POST /infer HTTP/2.0") + BODY, [400], "HTTP/2.0"),
    "HTTP/0.9": (b"GET /health\r\n\r\n", [400], "HTTP/0.9"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01", [400], "use http://"),
    "NULs": (b"\0" * 300_000, [400], "begins with no method"),
    "TLS's first byte": (b"\x16", [400], "use http://"),
    "PROXY": (b"PROXY TCP4 10.0.0.1 10.0.0.2 5000 5000\r\n" + HEALTH, [400], "begins with no method"),
    "PROXY 2": (b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c" + b"\x7f" * 12 + HEALTH, [400], "begins with no method"),
    "SSH": (b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\n", [400], "begins with no method"),
    "Redis": (b"*1\r\n$4\r\nPING\r\n", [400], "begins with no method"),
    "a word": (b"hello\r\n", [400], "begins with no method"),
    "unknown method behind another": (head() + BODY + b"FOO /infer HTTP/1.1\r\n\r\n", [200, 405], "in capitals"),
    "Host with a space": (head(host=b"Host: a b\r\n") + BODY, [400], "in the Host header"),
    "Host with a user": (head(host=b"Host: u@h\r\n") + BODY, [400], "in the Host header"),
    "Host's port": (head(host=b"Host: x:99999\r\n") + BODY, [400], "in the Host header"),
    "far too long a type": (
        infer(BODY, content_type=b"application/json; a=" + b"x" * 3_000) + LAST,
        [415, 200],
        "more than 2000 characters",
    ),
    "a space in a name": (head(b"a b: c\r\n") + BODY, [400], "Invalid header token"),
    "a folded line": (head(b"X: a\r\n b\r\n") + BODY, [400], "whitespace after header value"),
    "bytes in the target": (head(line=b"POST /inf\xff HTTP/1.1") + BODY, [400], "Invalid char in url path"),
    "two lengths": (head(b"Content-Length: 3\r\n") + BODY, [400], "Duplicate Content-Length"),
    "length and chunks": (
        head(CHUNKED) + chunks(BODY, 5) + HEALTH,
        [400],
        "Content-Length can't be present with Transfer-Encoding",
    ),
    "other coding": (
        head(b"Transfer-Encoding: gzip, chunked\r\n", length=None) + chunks(BODY, 5),
        [400],
        "Transfer-Encoding: chunked",
    ),
    "no chunk": (head(CHUNKED, length=None) + b"5\r\nhello\r\nzz\r\n", [400], "Invalid character in chunk size"),
    "too long a head": (head(b"X: " + b"a" * 66_000 + b"\r\n") + BODY, [431], "at most 65536 bytes"),
    "far too long a head": (head(b"X: " + b"a" * 2_000_000 + b"\r\n") + BODY, [431], "at most 65536 bytes"),
    "too long a head behind another": (
        head() + BODY + head(b"X: " + b"a" * 66_000 + b"\r\n") + BODY,
        [200, 431],
        "at most 65536 bytes",
    ),
    "too long a path": (
        head() + BODY + head(line=b"POST /" + b"a" * 70_000 + b" HTTP/1.1"),
        [200, 431],
        "at most 65536",
    ),
    "too many headers": (head(b"a: b\r\n" * 30_000) + BODY, [431], "at most 65536 bytes"),
    "too long a trailer": (
        head(CHUNKED, length=None) + chunks(BODY, 5)[:-2] + b"X: " + b"a" * 500_000,
        [431],
        "at most 65536 bytes",
    ),
    "garbage behind a request": (head() + BODY + b"garbage\r\n\r\n", [200, 400], "begins with no method"),
    "type while it waits": (  # some clients hang if they are refused before they were asked for the body
        head(b"Expect: 100-continue\r\n", content_type=b"text/plain") + BODY,
        [100, 415],
        "got text/plain",
    ),
    "size while it waits": (head(b"Expect: 100-continue\r\n", length=2_000_000), [413], "at most 65536 bytes"),
    "charset": (infer(BODY, content_type=b"application/json; charset=latin-1") + LAST, [415, 200], "charset=latin-1"),
    "gzip": (infer(BODY, b"Content-Encoding: gzip\r\n") + LAST, [415, 200], "got gzip"),
    "codings": (
        infer(BODY, b"Content-Encoding: identity\r\nContent-Encoding: br\r\n") + LAST,
        [415, 200],
        "got identity,br",
    ),
    "NaN": (infer(b'{"text": "a", "n": NaN}') + LAST, [400, 200], "NaN is a number in Python, not in JSON"),
    "-Infinity": (infer(b'{"text": "a", "n": [-Infinity]}') + LAST, [400, 200], "-Infinity is a number in Python"),
    "a number for a text": (infer(b'{"text": ' + b"9" * 5_000 + b"}") + LAST, [400, 200], "not a string"),
    "too deep": (infer(b'{"text": "a", "n": ' + b"[" * 30_000 + b"]" * 30_000 + b"}") + LAST, [400, 200], "too deeply"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_told_why(shared_service: Service, name: str) -> None:
    sent, expected, cause = REFUSED[name]
    answer = send(shared_service, sent)
    assert statuses(answer) == expected
    assert answer.count(b"x-replica: test-replica\r\n") == len([status for status in expected if status != 100])
    (refusal,) = [part for part in re.split(rb"(?=HTTP/1\.1 \d)", answer) if part.startswith(b"HTTP/1.1 4")]
    head_sent, problem = refusal.split(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head_sent
    assert cause in json.loads(problem)["detail"]
    assert (b"accept-encoding: identity" in head_sent) == ("Content-Encoding" in json.loads(problem)["detail"])


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (infer(BODY), [200]),
        (infer(b'{"text": "' + b"a long text " * 2_000 + b'"}'), [200]),
        ((head() + BODY) * 5, [200] * 5),
        ((head() + BODY) * 60, [200] * 60),
        (head()[:40], [400]),
        (head() + BODY[:9], [400]),
        ((head() + BODY) * 2 + head(CHUNKED, length=None) + b"5\r\nhello\r\n", [200, 200, 400]),
        (b"", []),
    ],
)
def test_a_client_that_ends_its_half_is_still_answered(
    shared_service: Service, sent: bytes, expected: list[int]
) -> None:
    answer = send(shared_service, sent, is_ended=True)
    assert statuses(answer) == expected
    assert answer.count(b"HTTP/1.1 ") == len(expected)


@pytest.mark.parametrize("last", [LAST, b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"])
def test_what_follows_the_last_request_is_nothing_to_the_service(own_service: Service, last: bytes) -> None:
    log = own_service.log.read_text()
    for rest in (head()[:40], head() + BODY[:9], infer(BODY) + head()[:40], infer(BODY)):
        with socket.create_connection(("127.0.0.1", own_service.port), timeout=10) as client:
            client.sendall(last + rest)
            assert statuses(client.recv(65536)) == [200]
            client.shutdown(socket.SHUT_WR)
            assert client.recv(65536) == b""
    stop(own_service)
    assert own_service.log.read_text() == log
    assert own_service.metrics.read_bytes().count(b"\n") == 1


def counts(service: Service) -> dict[str, float]:
    lines = requests.get(f"{service.url}/metrics", timeout=30).text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def leave(service: Service, sent: bytes, *, is_reset: bool) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(sent)
        if is_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_clients_that_leave_are_counted_and_not_logged(own_service: Service) -> None:
    log = own_service.log.read_text()
    for is_reset in (False, True):
        for _ in range(25):
            leave(own_service, head() + BODY[:9], is_reset=is_reset)
            leave(own_service, head(CHUNKED, length=None) + b"5\r\nhe", is_reset=is_reset)
            leave(own_service, head()[:40], is_reset=is_reset)
    wait_until(lambda: counts(own_service)['inference_client_faults_total{kind="left"}'] == 150)
    assert counts(own_service)['inference_requests_total{status="499"}'] == 100
    long_text = infer(b'{"text": "' + b"a long text " * 2_000 + b'"}')
    for is_reset in (False, True):
        for _ in range(20):
            leave(own_service, long_text, is_reset=is_reset)
    sent = 100 + 40
    wait_until(
        lambda: sum(v for k, v in counts(own_service).items() if k.startswith("inference_requests_total")) == sent
    )
    after = counts(own_service)
    answered = after.get('inference_requests_total{status="200"}', 0)
    assert after["inference_abandoned_total"] == 40 - answered >= 20
    assert {k for k in after if k.startswith("inference_requests_total")} <= {
        'inference_requests_total{status="200"}',
        'inference_requests_total{status="499"}',
    }
    stop(own_service)
    assert own_service.log.read_text() == log
    assert own_service.metrics.read_bytes().count(b"\n") == 1 + answered


def test_kinds_of_faults_are_counted_and_none_is_logged(own_service: Service) -> None:
    log = own_service.log.read_text()
    for kind, sent in {
        "http": head(host=b""),
        "head": head(b"X: " + b"a" * 66_000 + b"\r\n"),
        "path": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "method": b"GET /infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "length": head(length=2_000_000),
        "type": infer(BODY, b"Connection: close\r\n", b"text/plain"),
        "json": infer(b"{", b"Connection: close\r\n"),
        "text": infer(b"{}", b"Connection: close\r\n"),
    }.items():
        for _ in range(3):
            send(own_service, sent)
        assert counts(own_service)[f'inference_client_faults_total{{kind="{kind}"}}'] == 3
    stop(own_service)
    assert own_service.log.read_text() == log


def test_every_kind_of_fault_is_documented() -> None:
    text = (ROOT / "docs" / "service.md").read_text()
    for kind in [*FAULTS, *FILE_FAULTS]:
        assert f"| `{kind}` |" in text


def test_a_request_that_stalls_is_given_up_when_the_service_stops(tmp_path: Path) -> None:
    service = wait_for(start_service(tmp_path))
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(head() + BODY[:9])
        service.process.terminate()
        assert statuses(client.recv(65536)) == [408]
    assert service.process.wait(30) == 0
    assert "Traceback" not in service.log.read_text()


def test_an_unknown_method_may_come_in_pieces(shared_service: Service) -> None:
    sent = b"FOO http://x/infer HTTP/1.1\r\n"
    with socket.create_connection(("127.0.0.1", shared_service.port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in sent[:14]:
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        assert statuses(client.recv(65536)) == [405]


LONG = infer(b'{"text": "' + b"a long text " * 2_000 + b'"}')


SLOW = infer(b'{"text": "slow"}')


def start_changed(folder: Path, *, slow_s: float = 0.0, **limits_s: float) -> Service:
    """The service with limits that a test can wait for. The model takes at least ``slow_s`` for the text "slow"."""
    lines = ["import time", "from inference import http_protocol, server"]
    for name, value in limits_s.items():
        modules = [module for module in (http_protocol, server) if name in vars(module)]
        lines += [f"{module.__name__.rpartition('.')[2]}.{name} = {value}" for module in modules]
    if slow_s:
        lines += [
            "from inference.engines.onnx_engine import OnnxEngine",
            "classify = OnnxEngine.classify",
            "def slowly(self, texts, *, alone):",
            f"    time.sleep({slow_s} if 'slow' in texts else 0)",
            "    return classify(self, texts, alone=alone)",
            "OnnxEngine.classify = slowly",
        ]
    changes = folder / "changes"
    changes.mkdir()
    (changes / "sitecustomize.py").write_text("\n".join(lines))
    return start_service(folder, PYTHONPATH=f"{changes}:{ROOT}")


def listens(service: Service) -> bool:
    try:
        socket.create_connection(("127.0.0.1", service.port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_request_that_is_whole_in_time_is_answered_though_the_service_stops(tmp_path: Path) -> None:
    """Its answer takes longer than the rest of a request may take to arrive after draining."""
    service = wait_for(start_changed(tmp_path, slow_s=2.5, STOP_WAIT_S=2.0))
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
        client.sendall(SLOW[:-9])
        service.process.terminate()
        wait_until(lambda: not listens(service))  # it has drained, and waits for what has begun
        client.sendall(SLOW[-9:])
        asked_at_s = time.monotonic()
        assert statuses(client.recv(65536)) == [200]
        assert time.monotonic() - asked_at_s > 2  # the model was slow
    assert service.process.wait(20) == 0


def test_no_time_runs_for_a_client_that_waits_for_its_answer(tmp_path: Path) -> None:
    """Its requests are answered though each slow answer takes longer than a connection may be idle."""
    service = wait_for(start_changed(tmp_path, slow_s=1.5, IDLE_CONNECTION_S=1.2))
    try:
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
            answer = send_all(client, (SLOW + LONG * 60) * 2 + SLOW + LAST)
        assert statuses(answer) == [200] * 124
    finally:
        stop(service)


def send_all(client: socket.socket, sent: bytes) -> bytes:
    """Send, and read the answers meanwhile, until the service closes the connection."""
    thread = threading.Thread(target=client.sendall, args=(sent,))
    thread.start()
    answer = b""
    while part := client.recv(65536):
        answer += part
    thread.join()
    return answer


def test_connections_beyond_the_limit_shut_out_none_that_was_open_before(tmp_path: Path) -> None:
    service = wait_for(start_changed(tmp_path, MOST_CONNECTIONS=3))
    try:
        with ExitStack() as clients:
            first, *_, surplus, waiting = [
                clients.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=30))
                for _ in range(5)
            ]
            for client, status in ((first, 200), (surplus, 503), (first, 200), (waiting, 503)):
                client.sendall(infer(BODY))
                assert statuses(client.recv(65536)) == [status]
    finally:
        stop(service)


def unread(service: Service) -> socket.socket:
    """A client that has sent requests and read nothing, until the service accepted no more."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", service.port))
    client.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 3_000)
    return client


def test_a_client_that_does_not_read_its_answer_is_dropped(tmp_path: Path) -> None:
    service = wait_for(start_changed(tmp_path, WRITE_STALL_S=0.5))
    log = service.log.read_text()
    try:
        with unread(service):
            wait_until(lambda: counts(service)['inference_client_faults_total{kind="left"}'] > 0)
    finally:
        stop(service)
    assert service.log.read_text() == log


def test_only_connections_that_still_send_are_watched() -> None:
    """To look at 10,000 idle ones takes so long that it would delay other clients."""
    looked_at = []

    class Open:
        def drop_if_stalled(self, now_s: float, limit_s: float) -> None:
            looked_at.append(self)

    idle, sending = Open(), Open()
    made: Any = server.Server(uvicorn.Config("none"), {sending})  # type: ignore[arg-type]
    made.server_state.connections = {idle, sending}
    asyncio.run(made.on_tick(0))
    assert looked_at == [sending]


def test_clients_that_do_not_read_keep_no_service_from_stopping(tmp_path: Path) -> None:
    service = wait_for(start_changed(tmp_path, STOP_STALL_S=0.5))
    log = service.log.read_text()
    with ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(unread(service))
        service.process.terminate()
        assert service.process.wait(30) == 0
    assert service.log.read_text() == log


def test_unread_pipelines_take_little_memory_and_no_time_of_others(own_service: Service) -> None:
    process = psutil.Process(own_service.process.pid)
    before_bytes = process.memory_info().rss
    with ExitStack() as clients:
        for _ in range(60):
            clients.enter_context(unread(own_service))
        for _ in range(10):
            assert requests.post(f"{own_service.url}/infer", json={"text": "fine"}, timeout=10).status_code == 200
        assert process.memory_info().rss - before_bytes < 60e6


@pytest.fixture
def slow_service(tmp_path: Path) -> Iterator[Service]:
    """A service whose model is busy for half a second with the text "slow"."""
    service = start_changed(tmp_path, slow_s=0.5)
    try:
        yield wait_for(service)
    finally:
        stop(service)


@pytest.mark.parametrize("several", [2, 100])
def test_pipelined_requests_of_a_client_that_has_left_are_each_counted_once(
    slow_service: Service, several: int
) -> None:
    log = slow_service.log.read_text()
    with socket.create_connection(("127.0.0.1", slow_service.port), timeout=30) as client:
        client.sendall(SLOW)
        leave(slow_service, infer(BODY) * several, is_reset=True)
        assert statuses(client.recv(65536)) == [200]

    def by_status() -> list[float]:
        after = counts(slow_service)
        return [after.get(f'inference_requests_total{{status="{status}"}}', 0) for status in (200, 499)]

    wait_until(lambda: sum(by_status()) == several + 1)
    answered, left = by_status()
    assert left >= several - 1
    assert counts(slow_service)['inference_client_faults_total{kind="left"}'] == left
    stop(slow_service)
    assert slow_service.log.read_text() == log
    assert slow_service.metrics.read_bytes().count(b"\n") == 1 + answered
