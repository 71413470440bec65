"""Users that keep their connections, and replace each one after so many requests or seconds."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
import requests
from conftest import ROOT
from recorded_runs import measured, request, steady_requests, steady_samples, warmed, write_experiment, write_run
from test_analysis_balance import shared_by
from test_client import OK, service
from test_experiment_record import folder as folder  # noqa: PLC0414  a fixture
from test_locust_runs import locust, record, rows, totals_agree
from test_recording import swarm, web_ui

from analysis.analyse import Analysis, analyse
from analysis.measure.balance import expected_largest_share, keeps_connections, reopened
from analysis.read.results import read_results
from analysis.show import facts
from analysis.show.markdown import render_markdown
from infra.deployments.waiting import until_true
from infra.errors import PlanError
from infra.experiment.plan import Plan, plan_of, read_plan
from infra.experiment.resumable import check_resumable
from runfiles.files import REQUESTS_SUFFIX
from runfiles.reconnect import ReconnectEvery, read_reconnect_every
from runfiles.records import ExperimentRecord

import _client
import _options
from _client import Answer, Client

TEXT = b'{"text": "good"}'


class Counting(BaseHTTPRequestHandler):
    """Answers at once, and leaves connections open. ``server.asked`` has the POSTs of each connection that had any.

    As behind Swarm's ingress, each connection goes to the next of ``server.replicas`` replicas.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.posts = 0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if not self.posts:
            self.server.asked.append(0)  # type: ignore[attr-defined]
            self.place = len(self.server.asked) - 1  # type: ignore[attr-defined]
            self.replica = self.place % self.server.replicas  # type: ignore[attr-defined]
        self.posts += 1
        self.server.asked[self.place] = self.posts  # type: ignore[attr-defined]
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Replica: %d\r\n\r\nok" % self.replica)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def counting(replicas: int = 1) -> Iterator[tuple[str, list[int]]]:
    """A service: its URL, and how many requests came over each of its connections."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        server.asked, server.replicas = [], replicas  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", server.asked  # type: ignore[attr-defined]
        finally:
            server.shutdown()


def send(url: str, number: int, every: str, before: Callable[[int], None] = lambda _: None) -> list[Answer]:
    """The answers to so many requests of a client, which asks one after the other."""
    client = Client(url, "POST", {}, reconnect_every=read_reconnect_every(every))
    answers = []
    try:
        for place in range(number):
            before(place)
            answers.append(client.send(b"/infer", TEXT))
    finally:
        client.close()
    assert not any(answer.error for answer in answers)
    return answers


@pytest.mark.parametrize(
    ("said", "means", "written", "in_words"),
    [
        (100, ReconnectEvery(requests=100), "100", "100 requests"),
        ("100", ReconnectEvery(requests=100), "100", "100 requests"),
        (" 2 ", ReconnectEvery(requests=2), "2", "2 requests"),
        ("1000000", ReconnectEvery(requests=10**6), "1000000", "1,000,000 requests"),
        ("10s", ReconnectEvery(seconds=10.0), "10s", "10 s"),
        ("0.25 s", ReconnectEvery(seconds=0.25), "0.25s", "0.25 s"),
        ("86400s", ReconnectEvery(seconds=86400.0), "86400s", "86,400 s"),
    ],
)
def test_it_is_a_number_of_requests_or_of_seconds(
    said: Any, means: ReconnectEvery, written: str, in_words: str
) -> None:
    assert read_reconnect_every(said) == means == read_reconnect_every(written)
    assert (str(means), means.in_words) == (written, in_words)


@pytest.mark.parametrize(
    "said",
    ["", "s", "0", "1", "-5", "2.5", "1000001", "0.01s", "86401s", "10m", "ten", "9" * 5000, "nan", "infs"],
)
def test_what_is_neither_is_refused_with_what_would_be_right(said: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a number of requests from 2 to 1000000, such as 100, or of s"):
        _options.reconnect_every(said)


@pytest.mark.parametrize("said", [True, None, 2.0, ["100"], 0, -1, 2**70])
def test_a_value_of_another_type_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match="a number of requests"):
        read_reconnect_every(said)


def test_every_tenth_request_begins_a_connection() -> None:
    with counting() as (url, asked):
        answers = send(url, 25, "10")
    assert asked == [10, 10, 5]
    assert [place for place, answer in enumerate(answers) if not answer.connection_reused] == [0, 10, 20]
    assert [place for place, answer in enumerate(answers) if answer.reconnected] == [10, 20]
    assert not any(answer.retried for answer in answers)


def test_a_connection_is_replaced_by_the_first_request_that_finds_it_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time counts from its opening; between two requests, and never in the midst of one."""
    with counting() as (url, asked):
        answers = send(url, 9, "10s", with_time_of_its_own(monkeypatch, 4.0))
    assert asked == [3, 3, 3]  # at 0, 4 and 8 s; at 12 s it was too old
    assert [place for place, answer in enumerate(answers) if answer.reconnected] == [3, 6]


def test_a_user_that_reconnects_meets_all_replicas() -> None:
    with counting(replicas=3) as (url, _):
        met = [answer.headers["x-replica"] for answer in send(url, 12, "4")]
        stays = [answer.headers["x-replica"] for answer in send(url, 12, "1000")]
    assert met == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert stays == ["0"] * 12


def test_not_all_connections_get_equally_old(monkeypatch: pytest.MonkeyPatch) -> None:
    with counting() as (url, asked):
        send(url, 400, "10s", with_time_of_its_own(monkeypatch, 0.5))
    assert {*asked[:-1]} <= set(range(18, 24))  # 9 to 11 s
    assert len({*asked[:-1]}) > 1


def with_time_of_its_own(monkeypatch: pytest.MonkeyPatch, step_s: float) -> Callable[[int], None]:
    """Give the client a clock that stands still. What is returned advances it before each request but the first."""
    now_s = [100.0]
    clock = SimpleNamespace(perf_counter=lambda: now_s[0], time=lambda: 1e9 + now_s[0], time_ns=lambda: 10**18)
    monkeypatch.setattr(_client, "time", clock)

    def advance(place: int) -> None:
        now_s[0] += step_s if place else 0.0

    return advance


def test_the_new_connection_is_a_part_of_the_response_time(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Client._open

    def open_slowly(client: Client) -> None:
        gevent.sleep(0.05)
        opened(client)

    monkeypatch.setattr(Client, "_open", open_slowly)
    with counting() as (url, _):
        times_ms = [answer.response_time_ms for answer in send(url, 4, "2")]
    assert min(times_ms[0], times_ms[2]) > 50


def test_a_connection_that_the_service_closed_too_is_no_retry() -> None:
    with service([OK, OK]) as made:
        answers = send(f"http://127.0.0.1:{made.port}", 6, "2")
        assert made.opened == 3
    assert [answer.reconnected for answer in answers] == [False, False, True, False, True, False]
    assert not any(answer.retried for answer in answers)


EXACTLY = f"""
import sys
sys.path.insert(0, {str(ROOT / "locustfiles")!r})
from locust import task
from locust.exception import StopUser
from _users import ReviewUser

class Exactly(ReviewUser):
    sent = 0
    at_work = 2

    @task
    def infer(self):
        if self.sent == 25:
            Exactly.at_work -= 1
            if not Exactly.at_work:
                self.end_run()
            raise StopUser
        self.sent += 1
        self.ask_next_text()
"""


def test_each_user_replaces_its_own_connection_and_all_is_counted(tmp_path: Path) -> None:
    (tmp_path / "load.py").write_text(EXACTLY)
    prefix = tmp_path / "run"
    command = [sys.executable, "-m", "locust", "-f", str(tmp_path / "load.py"), "--headless", "--only-summary"]
    command += ["-u", "2", "-r", "2", "--csv", str(prefix), "--replicas", "none", "--reconnect-every", "10"]
    with counting() as (url, asked):
        done = subprocess.run([*command, "--host", url], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert totals_agree(prefix) == 50
    assert sorted(asked) == [5, 5, 10, 10, 10, 10]
    assert [row["connection_reused"] for row in rows(f"{prefix}{REQUESTS_SUFFIX}")].count("0") == 6
    said = record(prefix)
    assert (said["reconnect_every"], said["reconnects"], said["retries"]) == ("10", 4, 0)


def test_the_pool_of_an_open_load_replaces_its_connections(tmp_path: Path) -> None:
    prefix = tmp_path / "run"
    with counting() as (url, asked):
        options = ["--rate", "80", "--reconnect-every", "5", "--replicas", "none", "-t", "2"]
        assert locust("open_load", url, prefix, *options).wait(60) == 0
    said = record(prefix)
    answered, unanswered = totals_agree(prefix), said["open"]["unanswered"]
    opened = [row["connection_reused"] for row in rows(f"{prefix}{REQUESTS_SUFFIX}")].count("0")
    assert 50 < answered <= sum(asked) <= answered + unanswered
    assert opened <= len(asked) <= opened + unanswered
    assert max(asked) == 5
    assert 5 < said["reconnects"] <= asked.count(5)  # each that was replaced had its five requests


def test_workers_are_told_and_their_connections_are_counted(tmp_path: Path) -> None:
    prefix = tmp_path / "run"
    with counting() as (url, asked):
        options = ["-u", "4", "-r", "4", "--processes", "2", "--reconnect-every", "0.2s", "--replicas", "none"]
        assert locust("keep_alive", url, prefix, *options, "-t", "3").wait(60) == 0
    assert sum(asked) - 4 <= totals_agree(prefix) <= sum(asked)  # each user's last request may be left unanswered
    said = record(prefix)
    opened = [row["connection_reused"] for row in rows(f"{prefix}{REQUESTS_SUFFIX}")].count("0")
    assert (said["reconnect_every"], said["reconnects"]) == ("0.2s", opened - 4)
    assert said["reconnects"] > 8


def test_without_the_option_a_record_has_none(tmp_path: Path) -> None:
    prefix = tmp_path / "run"
    with counting() as (url, asked):
        assert locust("keep_alive", url, prefix, "-u", "2", "-r", "2", "-t", "1", "--replicas", "none").wait(60) == 0
    assert len(asked) == 2
    assert (record(prefix)["reconnect_every"], record(prefix)["reconnects"]) == (None, None)


def test_users_that_keep_no_connection_are_told_what_to_do(tmp_path: Path) -> None:
    prefix = tmp_path / "run"
    assert locust("new_connection", "http://127.0.0.1:1", prefix, "--reconnect-every", "10", "-t", "1").wait(60) == 2
    assert "leave it out, or use locustfiles/keep_alive.py" in prefix.with_name("run.log").read_text()
    options = SimpleNamespace(reconnect_every="10", connection="new")
    environment: Any = SimpleNamespace(parsed_options=options, user_classes=[SimpleNamespace(keeps_connection=True)])
    assert str(_options.keeps_no_connections(environment)).endswith("leave it out, or use --connection kept")
    options.connection = "kept"
    assert _options.keeps_no_connections(environment) is None


def test_the_form_of_the_web_ui_has_a_field_which_is_checked(tmp_path: Path) -> None:
    prefix = tmp_path / "run"
    with counting() as (url, asked), web_ui(prefix, "--host", url, "--replicas", "none") as web:
        for number, field in enumerate(["20", "1", ""], 1):
            assert swarm(web, host=url, run_time="30", reconnect_every=field)["success"]
            own = Path(str(prefix) if number == 1 else f"{prefix}_run{number}")
            before = len(asked)
            assert until_true(partial(has_more, asked, before + 2 * (number == 1)), 20)
            assert requests.post(f"{web}/stop", timeout=10).ok
            said = record(own)
            assert said["reconnect_every"] == ("20" if number == 1 else None)
            faults = [fault["text"] for fault in said["faults"]]
            assert bool(faults) == (number == 2)
            assert all(
                "reconnect every of the web UI's form: '1' is not a number of requests" in text for text in faults
            )


def has_more(asked: list[int], before: int) -> bool:
    return len(asked) > before


def test_a_plan_tells_locust_and_its_record_holds_it() -> None:
    for override in ("reconnect_every=100", 'reconnect_every="100"'):
        plan = read_plan(None, [override])
        assert plan.reconnect_every == "100"
        assert plan.load_arguments[-2:] == ["--reconnect-every", "100"]
        assert plan_of(plan.record, "experiment.json") == plan
    assert read_plan(None, ["reconnect_every=10s", "rate=20"]).load_arguments[-2:] == ["--reconnect-every", "10s"]
    assert read_plan(None, ["reconnect_every=none"]) == Plan()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["reconnect_every=1"],
            "such as 10s (new_connection opens a connection for each request); the default is none",
        ),
        (["reconnect_every=10m"], '--set: reconnect_every = "10m" is not a number of requests from 2 to 1000000'),
        (["reconnect_every=2.5"], "reconnect_every = 2.5 is not a number of requests"),
        (["reconnect_every=true"], "reconnect_every = True is not a number of requests"),
        (
            ["reconnect_every=10", "user_class=new_connection"],
            'reconnect_every is for connections that are kept; leave it out, or set user_class = "keep_alive"',
        ),
    ],
)
def test_a_slip_in_a_plan_is_told(overrides: list[str], expected: str) -> None:
    with pytest.raises(PlanError) as raised:
        read_plan(None, overrides)
    assert expected in str(raised.value)


def test_the_record_of_an_earlier_version_lacks_the_key_and_is_continued(folder: Path) -> None:
    content = json.loads((folder / "experiment.json").read_text())
    assert content["plan"].pop("reconnect_every", "absent") is None
    earlier = ExperimentRecord.from_json(content)
    assert check_resumable(earlier, content) == earlier.options
    assert plan_of(earlier.plan, "experiment.json").reconnect_every is None


def dealt(name: str, **record: Any) -> dict[str, Any]:
    """What a load of 4 users is whose connections reached the replicas of Swarm unevenly: half of them reached one."""
    counts = {"llm.1": 200, "llm.2": 100, "llm.3": 100}
    answers = [request(2 + place / 45, replica=name) for name, count in counts.items() for place in range(count)]
    first = ("llm.1", "llm.1", "llm.2", "llm.3")
    opened = [request(1 + place / 100, replica=name, connection_reused=0) for place, name in enumerate(first)]
    samples = [row for each in counts for row in steady_samples(0.5, replica=each, replica_id=each)]
    return {"prefix": "load", "requests": [*opened, *answers], "samples": samples} | record


def analysed(folder: Path, plan: dict[str, Any], **loads: dict[str, Any]) -> Analysis:
    names = [name.replace("_", "-") for name in loads]
    write_experiment(folder, [measured(name) for name in names])
    path = folder / "experiment.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"plan": content["plan"] | plan}))
    for name, load in zip(names, loads.values(), strict=True):
        write_run(folder / name, **load)
    return analyse(read_results(folder))


def load_fact(analysis: Analysis) -> str:
    return next(fact.text for fact in facts.header_facts(analysis) if fact.term == "Load")


def test_the_page_names_the_remedy_where_replicas_share_kept_connections_unevenly(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, {}, swarm_3=dealt("swarm-3"))
    (found,) = [each.text for each in analysis.findings if each.id == "finding-network-swarm-3"]
    assert "so each user stayed with one replica" in found
    assert "With --set reconnect_every=100 each user opens a new connection after 100 requests" in found
    assert "new connection after" not in load_fact(analysis)


def test_the_page_says_that_connections_were_replaced(tmp_path: Path) -> None:
    load = dealt("swarm-3", reconnect_every="100", reconnects=4)
    load["requests"] += [
        request(5 + place / 99, replica=f"llm.{place % 3 + 1}", connection_reused=0) for place in range(4)
    ]
    analysis = analysed(tmp_path, {"reconnect_every": "100"}, swarm_3=load)
    assert load_fact(analysis).endswith("Each user opens a new connection after 100 requests.")
    assert "(keep_alive, reconnect_every = 100)" in render_markdown(analysis).replace("\\_", "_")
    (found,) = [each.text for each in analysis.findings if each.id == "finding-network-swarm-3"]
    assert "and each user opened a new connection after 100 requests. So no replica is left out for long." in found
    assert "stayed with one replica" not in found
    assert "--set reconnect_every" not in found
    (balance,) = analysis.balances
    assert balance.even is not None
    assert (balance.is_sticky, balance.even.cards) == (False, "connections")
    assert balance.even.expected_largest == 3 / 8  # of 8 connections at most 3 on one of three replicas
    assert not [each for each in analysis.findings if each.id == "finding-connections"]


def test_a_load_that_was_too_short_to_replace_a_connection_is_told_so(tmp_path: Path) -> None:
    load = dealt("swarm-3", reconnect_every="10s", reconnects=0)
    analysis = analysed(tmp_path, {"reconnect_every": "10s"}, swarm_3=load)
    (found,) = [each.text for each in analysis.findings if each.id == "finding-network-swarm-3"]
    assert "No connection was used for 10 s, so none was replaced; set reconnect_every to less." in found


def test_connections_that_are_replaced_after_two_requests_are_kept_ones(tmp_path: Path) -> None:
    """Half of the requests open a connection, but it is not the server that closes it."""
    run = shared_by(tmp_path, {"a": 100, "b": 100}, 0)
    assert not keeps_connections(run)
    half = [request(2 + place / 40, replica="a", connection_reused=place % 2) for place in range(399)]
    load = {"prefix": "load", "requests": warmed(half), "reconnect_every": "2", "reconnects": 200}
    analysis = analysed(tmp_path / "half", {"reconnect_every": "2"}, host=load)
    (run,) = analysis.results.deployments[0].loads.values()
    assert keeps_connections(run)
    assert reopened([run]) is None
    assert "connections were dealt to the replicas in turn" in expected_largest_share(run, 3)[1]


def test_loads_that_replace_connections_otherwise_are_not_compared(tmp_path: Path) -> None:
    plain = {"prefix": "load", "requests": steady_requests(50), "samples": steady_samples(0.5)}
    other = plain | {"reconnect_every": "100", "reconnects": 5}
    analysis = analysed(tmp_path, {}, host=plain, docker=other)
    texts = [doubt.text for doubt in analysis.validity.invalid]
    assert any("not compared: they differ in reconnect every" in text for text in texts)
    assert any("docker run, round 1: reconnect_every was 100, the plan says none" in text for text in texts)
    alike = analysed(tmp_path / "alike", {"reconnect_every": "100"}, host=other, docker=other)
    assert not any("reconnect" in doubt.text for doubt in alike.validity.invalid)
