"""Generated requests to a running service: each is answered, no row is lost, and the memory does not grow.

FOURFOLD_FUZZ_REQUESTS is the number of requests, FOURFOLD_FUZZ_SEED the seed that they are generated from.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import itertools
import json
import os
import random
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
import requests
from conftest import Service, stop
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from infra.deployments.waiting import until_true

REQUESTS = int(os.environ.get("FOURFOLD_FUZZ_REQUESTS") or 10_000)
SEED = int(os.environ.get("FOURFOLD_FUZZ_SEED") or random.randrange(2**32))

ANSWER_S = 20.0
"""No answer may take longer. One that never comes would take much longer; a busy machine may need some seconds."""

WARM_UP_REQUESTS = 1_000
GROWTH_BYTES = 32 * 1024 * 1024
"""The memory may grow by this much after the first WARM_UP_REQUESTS."""


LEGAL = 3
"""How many legal requests each connection sends. After them comes anything."""


@dataclass(frozen=True)
class Sent:
    """A request as bytes. If ``text`` is given, the request is legal and has to leave a row with that text."""

    data: bytes
    text: str | None = None

    def __repr__(self) -> str:
        return f"Sent({len(self.data)} bytes: {self.data[:300]!r}...{self.data[-100:]!r})"


def framed(body: bytes, framing: str) -> tuple[bytes, bytes]:
    """Headers that announce the length of a body, and the body as it is sent."""
    half = len(body) // 2
    parts = [part for part in (body[:half], body[half:]) if part]
    chunked = b"Transfer-Encoding: chunked\r\n"
    length = b"Content-Length: %d\r\n"
    extension = b";a=b" if framing == "extensions" else b""
    in_chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n"
    return {
        "length": (length % len(body), body),
        "chunks": (chunked, in_chunks + b"\r\n"),
        "extensions": (chunked, in_chunks + b"\r\n"),
        "trailers": (chunked, in_chunks + b"Host: other\r\nContent-Type: text/plain\r\n\r\n"),
        "none": (b"", body),
        "too short": (length % half, body),
        "too long": (length % (len(body) + 9), body),
        "both": (length % len(body) + chunked, in_chunks + b"\r\n"),
        "twice": (length % len(body) + length % half, body),
        "negative": (b"Content-Length: -1\r\n", body),
        "no number": (b"Content-Length: 0x10\r\n", body),
        "huge": (b"Content-Length: 99999999999999999999\r\n", body),
        "broken chunk": (chunked, in_chunks[:-3] + b"zz\r\n"),
        "other coding": (b"Transfer-Encoding: gzip, chunked\r\n", in_chunks + b"\r\n"),
    }[framing]


HARMLESS = [
    b"",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    b"Upgrade: TLS/1.0\r\n",
    b"Expect: 100-continue\r\n",
    b"Content-Encoding: identity\r\n",
    b"Accept: application/json;q=0.2, text/csv\r\n",
    b"Accept: */*;q=none, nothing\r\n",
    b"Accept: " + b"a/b;" * 2_000 + b"\r\n",
    b"X-Long: " + b"x" * 20_000 + b"\r\n",
    b"X-Bytes: \x80\xff\r\n",
    b"x:y\r\n" * 200,
    b"Keep-Alive: timeout=5\r\nTE: trailers\r\nCookie: a=b\r\n",
]
"""Headers that change nothing in the answer."""

ENCODERS: list[Callable[[str], bytes]] = [
    lambda text: text.encode(),
    lambda text: text.encode("utf-8-sig"),
    lambda text: text.encode("utf-16"),
    lambda text: text.encode("utf-32"),
]

EXTRAS = [
    "",
    ', "n": ' + "9" * 5_000,
    ', "n": -0.1e-99999',
    ', "n": [[{}]]',
    ', "\\ud800": null',
    ', "text2": "\\udfff"',
]

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip)


@st.composite
def legal(draw: st.DrawFn) -> Sent:
    """A request that has to be answered with 200."""
    text = draw(texts)
    body = '{"text": ' + json.dumps(text, ensure_ascii=draw(st.booleans())) + draw(st.sampled_from(EXTRAS)) + "}"
    length, data = framed(
        draw(st.sampled_from(ENCODERS))(body),
        draw(st.sampled_from(["length", "length", "chunks", "extensions", "trailers"])),
    )
    line = draw(st.sampled_from([b"/infer", b"/infer", b"/infer?a=%00", b"/%69nfer", b"http://h:1/infer"]))
    kind = draw(st.sampled_from([b"application/json", b"APPLICATION/JSON", b'application/json ; charset="utf-8"']))
    headers = [
        b"Host: x\r\n",
        b"Content-Type: " + kind + b"\r\n",
        length,
        *draw(st.lists(st.sampled_from(HARMLESS), max_size=2)),
    ]
    return Sent(b"POST " + line + b" HTTP/1.1\r\n" + b"".join(headers) + b"\r\n" + data, text)


METHODS = [b"POST"] * 6 + [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH", b"M-SEARCH"]
METHODS += [b"post", b"NO-SUCH", b"PRI", b"", b"\x16\x03\x01", b"\xff\x00"]
TARGETS = [b"/infer"] * 6 + [
    b"/health",
    b"/metrics",
    b"/",
    b"*",
    b"//infer",
    b"/infer/",
    b"/%ff%00",
    b"/%zz",
    b"http://h",
]
TARGETS += [b"h:80", b"?x", b"/\xc3\xa9", b"/a b", b"/" + b"a" * 70_000, b"", b"http://", b"/infer#x"]
VERSIONS = [b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"RTSP/1.0", b"http/1.1", b""]
FRAMINGS = ["length"] * 4 + [
    "chunks",
    "extensions",
    "trailers",
    "none",
    "too short",
    "too long",
    "both",
    "twice",
    "negative",
]
FRAMINGS += ["no number", "huge", "broken chunk", "other coding"]
HOSTS = [b"Host: x\r\n"] * 6 + [b"", b"Host:\r\n", b"Host: a\r\nHost: b\r\n"]
KINDS = [b"application/json"] * 6 + [
    b"text/plain",
    b"",
    b"json",
    b"application/json; charset=latin-1",
    b";;;",
    b"\xff/\xff",
]
ODD = [
    *HARMLESS,
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: identity, br\r\n",
    b"X: a\r\n folded\r\n",
    b"no colon\r\n",
    b"a b: c\r\n",
    b"X: \x00\r\n",
    b": x\r\n",
    b"X: a\nY: b\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, close, upgrade\r\n",
    b"X-Longer: " + b"x" * 70_000 + b"\r\n",
    b"x:y\r\n" * 20_000,
]
BODIES = [
    b"",
    b"{",
    b"null",
    b"[1]",
    b"{}",
    b'{"text": 5}',
    b'{"text": ""}',
    b'{"text": NaN}',
    b'{"text": "a", "n": -Infinity}',
    b'{"text": "\\ud800"}',
    b'{"text": "\xed\xa0\x80"}',
    b'{"text": "\xff"}',
    b'{"text": "a\x00"}',
    b'{"text": "a"} x',
    b'{"text": "a", "n": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b'{"text": "' + b"x" * 70_000 + b'"}',
    gzip.compress(b'{"text": "a"}'),
]


@st.composite
def anything(draw: st.DrawFn) -> Sent:
    """Any request. It gets an answer, and whatever is wrong is not the fault of the service."""
    body = draw(
        st.sampled_from(BODIES) | st.binary(max_size=60) | texts.map(lambda text: json.dumps({"text": text}).encode())
    )
    length, data = framed(body, draw(st.sampled_from(FRAMINGS)))
    line = [draw(st.sampled_from(some)) for some in (METHODS, TARGETS, VERSIONS)]
    kind = draw(st.sampled_from(KINDS))
    headers = [draw(st.sampled_from(HOSTS)), b"Content-Type: " + kind + b"\r\n", length]
    headers += draw(st.lists(st.sampled_from(ODD), max_size=2))
    return Sent(b" ".join(line) + b"\r\n" + b"".join(headers) + b"\r\n" + data)


@dataclass(frozen=True)
class Visit:
    """What a client sends over a connection: legal requests, then anything. ``way`` says how it leaves."""

    legal: tuple[Sent, ...]
    last: Sent
    cuts: list[int]
    """Where the bytes are cut into segments."""
    way: str


ways = st.sampled_from(["reads"] * 8 + ["closes", "resets", "cut", "cut and closes"])


@st.composite
def visits(draw: st.DrawFn) -> Visit:
    cuts = st.lists(st.integers(0, 2_000), max_size=3)
    return Visit(tuple(draw(legal()) for _ in range(LEGAL)), draw(anything()), draw(cuts), draw(ways))


@dataclass
class Tally:
    """What was sent, and what was answered."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    """The texts of the requests that were answered with 200."""
    slowest_s: float = 0.0
    warm_bytes: int = 0

    def add(self, answer: bytes, *, is_head: bool) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head[9:12])
        self.statuses[status] += 1
        assert 200 <= status < 500, answer
        assert head.count(b"\r\nx-replica: test-replica") == 1, answer
        if status >= 400 and not (is_head and not body):
            assert b"content-type: application/problem+json" in head, answer
            problem = json.loads(body)
            assert problem["status"] == status
            assert problem["detail"]
        if b"content-type: text/csv" in head:
            _, row = csv.reader(io.StringIO(body.decode(), newline=""), strict=True)
            self.texts[row[2]] += 1


def pay(service: Service, visit: Visit, tally: Tally) -> None:
    """Send all of a visit, and check the answers."""
    data = b"".join(sent.data for sent in visit.legal) + visit.last.data
    if visit.way.startswith("cut"):
        data = data[: -max(1, len(visit.last.data) // 2)]
    edges = sorted({0, len(data), *(cut for cut in visit.cuts if cut < len(data))})
    tally.requests += len(visit.legal) + 1
    began_s = time.monotonic()
    answer = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=ANSWER_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in itertools.pairwise(edges):
            client.sendall(data[start:end])
        if visit.way == "resets":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if visit.way in ("closes", "resets", "cut and closes"):
            return
        # If this process gets no CPU for a while, the service has answered and given up waiting meanwhile. What it
        # answered is there all the same.
        with suppress(ConnectionResetError):
            try:
                client.shutdown(socket.SHUT_WR)
            except OSError as error:
                if error.errno != errno.ENOTCONN:
                    raise
            while part := client.recv(65536):
                answer += part
    tally.slowest_s = max(tally.slowest_s, time.monotonic() - began_s)
    before, *answers = re.split(rb"(?=HTTP/1\.1 \d\d\d )", answer)
    answers = [found for found in answers if not found.startswith(b"HTTP/1.1 100 ")]
    assert before == b""
    assert len(answers) >= len(visit.legal) + (visit.way == "reads"), (visit, answer)
    for number, found in enumerate(answers):
        tally.add(found, is_head=number >= len(visit.legal) and visit.last.data.startswith(b"HEAD "))
    for sent, found in zip(visit.legal, answers, strict=False):
        assert found.startswith(b"HTTP/1.1 200 "), (sent, found)


def settled_metrics(service: Service) -> str:
    """The metrics, once nothing more is counted: the clients of the last visits may have left while their texts were
    computed."""

    def counted() -> str:
        text = requests.get(f"{service.url}/metrics", timeout=30).text
        return "\n".join(line for line in text.splitlines() if line.startswith("inference_requests_total"))

    def is_settled() -> bool:
        before = counted()
        time.sleep(0.5)
        return counted() == before

    assert until_true(is_settled, 30)
    return counted()


def test_whatever_is_sent_is_answered_and_no_row_is_lost(own_service: Service) -> None:
    tally = Tally()
    memory = psutil.Process(own_service.process.pid).memory_info

    @seed(SEED)
    @settings(
        max_examples=-(-REQUESTS // (LEGAL + 1)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # a smaller failure would take minutes to find
    )
    @given(visits())
    def all_visits(visit: Visit) -> None:
        pay(own_service, visit, tally)
        if not tally.warm_bytes and tally.requests >= WARM_UP_REQUESTS:
            tally.warm_bytes = memory().rss

    began_s = time.monotonic()
    log = own_service.log.read_text()
    all_visits()
    took_s = time.monotonic() - began_s
    grown_bytes = memory().rss - tally.warm_bytes
    counted = settled_metrics(own_service)
    print(f"seed {SEED}: {tally.requests} requests in {took_s:.0f} s, slowest connection {tally.slowest_s:.2f} s")
    print(f"memory +{grown_bytes / 1e6:.1f} MB, answers {dict(sorted(tally.statuses.items()))}")
    stop(own_service)
    assert grown_bytes < GROWTH_BYTES
    logged = own_service.log.read_text().removeprefix(log)
    assert not logged, logged
    with own_service.metrics.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, strict=True))[1:]
    assert {len(row) for row in rows} == {4}
    assert not tally.texts - Counter(row[2] for row in rows)
    answered = re.search(r'^inference_requests_total\{status="200"\} (\S+)$', counted, re.MULTILINE)
    assert answered
    assert len(rows) == float(answered[1])
    assert not re.search(r'^inference_requests_total\{status="5', counted, re.MULTILINE)
