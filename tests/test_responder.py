"""The responder of the blank: every whole request is answered at once with the same bytes, and nothing else is."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from conftest import ROOT

from infra.deployments.waiting import until_true
from infra.experiment.responder import MOST_BODY_BYTES, MOST_HEAD_BYTES, NotARequest, request_end

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 10\r\n\r\n0.5,label\n"
LAST_ANSWER = ANSWER.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")
POST = b"POST /infer HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{'a': 12}"
GET = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"POST /infer HTTP/1.1\r\ncontent-length:  2 \r\nconnection: Close\r\n\r\nab"
MOST_OF_THE_CLIENTS_CPU = 3
"""What the responder takes, as a share of what a plain client takes that does little more than send and read."""


@dataclass(frozen=True)
class Responder:
    process: subprocess.Popen[bytes]
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@pytest.fixture
def responder(tmp_path: Path) -> Iterator[Responder]:
    (tmp_path / "answer").write_bytes(ANSWER)
    command = [sys.executable, "-m", "infra.experiment.responder", "--answer", str(tmp_path / "answer")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            yield Responder(process, int(process.stdout.readline()))
        finally:
            process.kill()


def received(client: socket.socket, count: int) -> bytes:
    """So many bytes, or all until the connection ends."""
    got = b""
    while len(got) < count and (part := client.recv(65536)):
        got += part
    return got


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def is_silent(client: socket.socket) -> bool:
    """Whether nothing has come; an answer comes within a millisecond."""
    client.settimeout(0.2)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)
    return False


def test_each_request_gets_the_same_answer_over_one_connection(responder: Responder) -> None:
    with responder.connect() as client:
        for request in (POST, GET, POST):
            client.sendall(request)
            assert received(client, len(ANSWER)) == ANSWER
        assert is_silent(client)


def test_a_request_in_pieces_is_answered_when_it_is_whole(responder: Responder) -> None:
    with responder.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in (1, POST.index(b"\r\n\r\n") + 2, len(POST) - 1):
            client.sendall(POST[:at])
            assert is_silent(client)
            client.sendall(POST[at:])
            assert received(client, len(ANSWER)) == ANSWER
        for byte in POST:
            client.sendall(bytes([byte]))
        assert received(client, len(ANSWER)) == ANSWER


def test_requests_that_come_together_are_each_answered(responder: Responder) -> None:
    with responder.connect() as client:
        client.sendall(POST + GET + POST[:-1])
        assert received(client, 2 * len(ANSWER)) == 2 * ANSWER
        assert is_silent(client)
        client.sendall(POST[-1:] + LAST + POST)  # what follows the last request is not answered
        assert received(client, 10**6) == ANSWER + LAST_ANSWER


def test_who_wants_the_connection_closed_gets_the_answer_first(responder: Responder) -> None:
    for _ in range(3):
        with responder.connect() as client:
            client.sendall(LAST)
            assert received(client, 10**6) == LAST_ANSWER
            assert is_closed(client)
    with responder.connect() as client:  # as does who ends the sending side at once
        client.sendall(POST)
        client.shutdown(socket.SHUT_WR)
        assert received(client, 10**6) == ANSWER


def test_a_client_that_reads_late_gets_all_its_answers_and_keeps_nobody_waiting(responder: Responder) -> None:
    count = 200_000
    with responder.connect() as slow, responder.connect() as other:
        slow.setblocking(False)
        sent = 0
        whole = GET * count
        while sent < len(whole):
            try:
                sent += slow.send(whole[sent : sent + 2**20])
            except BlockingIOError:  # it no longer reads from a client that does not read
                break
        assert sent < len(whole)
        other.sendall(POST)
        assert received(other, len(ANSWER)) == ANSWER
        slow.settimeout(10)
        whole_ones = sent // len(GET)
        assert received(slow, whole_ones * len(ANSWER)) == ANSWER * whole_ones
        slow.sendall(GET[sent % len(GET) :])
        assert received(slow, len(ANSWER)) == ANSWER


@pytest.mark.parametrize(
    "garbage",
    [
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + str(MOST_BODY_BYTES + 1).encode() + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        b"x" * (MOST_HEAD_BYTES + 1),
    ],
)
def test_what_is_no_request_of_a_known_length_ends_its_connection_alone(responder: Responder, garbage: bytes) -> None:
    with pytest.raises(NotARequest):
        request_end(garbage)
    with responder.connect() as other, responder.connect() as client:
        client.sendall(garbage)
        assert is_closed(client)
        other.sendall(POST)
        assert received(other, len(ANSWER)) == ANSWER


def test_clients_that_come_and_go_leave_nothing_open(responder: Responder) -> None:
    process = psutil.Process(responder.process.pid)
    with responder.connect() as stays:
        stays.sendall(POST)
        assert received(stays, len(ANSWER)) == ANSWER
        before = process.num_fds()
        for number in range(100):
            with responder.connect() as client:
                client.sendall(POST[: number % len(POST)])
        assert until_true(lambda: process.num_fds() == before, 10)


def test_it_listens_at_loopback_alone(responder: Responder) -> None:
    listening = psutil.Process(responder.process.pid).net_connections(kind="tcp")
    assert [held.laddr for held in listening] == [("127.0.0.1", responder.port)]


def test_it_ends_with_its_standard_input(responder: Responder) -> None:
    with responder.connect() as client:
        client.sendall(POST[:10])
        assert responder.process.stdin
        responder.process.stdin.close()
        assert responder.process.wait(30) == 0


def test_it_ends_on_a_signal(responder: Responder) -> None:
    responder.process.send_signal(signal.SIGTERM)
    assert responder.process.wait(30) == -signal.SIGTERM


def test_a_port_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(ANSWER)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "infra.experiment.responder", "--answer", str(tmp_path / "answer")]
    done = subprocess.run([*command, "--port", str(port)], cwd=ROOT, input=b"", capture_output=True, check=True)
    assert done.stdout == b"%d\n" % port


def test_it_takes_little_of_the_processors(responder: Responder) -> None:
    process, count = psutil.Process(responder.process.pid), 10_000
    own, shares = psutil.Process(), []
    with responder.connect() as client:
        for _ in range(3):
            before = [each.cpu_times() for each in (process, own)]
            for _ in range(count):
                client.sendall(POST)
                received(client, len(ANSWER))
            pairs = zip(before, (process.cpu_times(), own.cpu_times()), strict=True)
            took_s, own_s = (late.user + late.system - early.user - early.system for early, late in pairs)
            shares.append(took_s / own_s)
            print(f"{took_s / count * 1000:.4f} ms of CPU, the client {own_s / count * 1000:.4f} ms")
    assert min(shares) < MOST_OF_THE_CLIENTS_CPU
