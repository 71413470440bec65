"""What is a round and what is not: it ends at once when its service is gone, and is not measured where its single pass
or load did not record what it should; the reason has the last words."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT, free_port
from test_infra import deployments, infra, said_by

from infra.deployments.service import Service
from infra.errors import DeploymentError
from infra.experiment import load
from infra.experiment.load import Load, Target, rows_so_far, run_locust
from runfiles.events import FAILED
from runfiles.records import Generator, Limits, Replicas, RunRecord, Texts

STAYS = Service("none", lambda _: [], "nowhere", Limits(), gone=lambda: None, last_words=lambda: "going down now")
ANSWER = b"Input Text,Label,Score\nx,POSITIVE,0.9\n"


@contextmanager
def answering(status: Callable[[int], int], seconds: float = 0.0) -> Iterator[str]:
    """A service that gives its n-th answer ``status(n)``, each after so many seconds."""
    answers = iter(range(1, 10**9))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each body would wait 40 ms for the acknowledgement of its head

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(seconds)
            self.send_response(status(next(answers)))
            self.send_header("Content-Length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def replay(
    folder: Path, url: str, *arguments: str, locustfile: str = "single_pass", service: Service = STAYS
) -> list[str]:
    said = ["--host", url, "--replicas", "none", *arguments]
    prefix = folder / locustfile
    outcome = run_locust(Load(locustfile, prefix, said), [Target("host", prefix, service)])["host"]
    if outcome.reason is not None:
        raise DeploymentError(outcome.reason)
    return outcome.faults


def test_a_pass_that_nobody_answers_is_none(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError) as told:
        replay(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert "all 160 requests failed; the first error was: " in str(told.value)
    assert "refused" in str(told.value)
    assert str(told.value).endswith("; last words of the service: going down now")


def test_a_pass_of_fewer_than_all_texts_is_none(tmp_path: Path) -> None:
    with answering(lambda _: 200, seconds=0.05) as url, pytest.raises(DeploymentError) as told:
        replay(tmp_path, url, "--run-time", "4")
    sent = json.loads((tmp_path / "single_pass_run.json").read_text())["requests"]
    assert 0 < sent < 160
    assert f"the single pass sent {sent} requests for 160 texts; last words of the service" in str(told.value)


def test_a_load_of_which_some_requests_failed_is_one_and_without_an_answer_it_is_none(tmp_path: Path) -> None:
    with answering(lambda number: 503 if number == 7 else 200, seconds=0.01) as url:
        assert replay(tmp_path, url, "--requests", "50", locustfile="keep_alive") == []
    with (
        answering(lambda _: 503) as url,
        pytest.raises(DeploymentError, match=r"all \d+ requests failed; the first .*503"),
    ):
        replay(tmp_path, url, "--requests", "50", locustfile="keep_alive")


def test_a_service_that_is_gone_ends_the_run_at_once_with_its_last_words(tmp_path: Path) -> None:
    until = time.monotonic() + 3
    service = Service(
        "none", lambda _: [], "", Limits(), lambda: "it ended: bye" if time.monotonic() > until else None, lambda: ""
    )
    with answering(lambda _: 200, seconds=0.1) as url, pytest.raises(DeploymentError, match=r"^it ended: bye$"):
        replay(tmp_path, url, service=service)
    assert time.monotonic() < until + 10  # the pass would take 16 s
    record = json.loads((tmp_path / "single_pass_run.json").read_text())
    assert record["ended_by"] == "interrupted"


def test_a_load_whose_locust_was_ended_by_somebody_is_none(tmp_path: Path) -> None:
    def end() -> None:
        if rows_so_far(tmp_path / "load") > 20:
            for child in psutil.Process().children():
                if str(tmp_path / "load") in child.cmdline():  # others serve the tests to come
                    child.terminate()

    said = ["--replicas", "none", "--run-time", "600"]
    with answering(lambda _: 200) as url:
        load = Load("keep_alive", tmp_path / "load", ["--host", url, *said], meanwhile=end)
        outcome = run_locust(load, [Target("host", load.prefix, STAYS)])["host"]
    assert re.match(r"the run was interrupted after \d+ requests", str(outcome.reason))


OWN_END = """
import os, sys
from pathlib import Path
sys.path.insert(0, {real!r})
from locust import User, events, task
import _users  # which makes Locust record
from _ending import end_run

class Idle(User):
    fixed_count = 1

    @task
    def once(self):
        end_run(self.environment, "all texts sent")
        {task}

@events.quit.add_listener
def end(**_):
    {end}
"""
RUN_JSON = "Path(sys.argv[sys.argv.index('--csv') + 1] + '_run.json')"


@pytest.mark.parametrize(
    ("task", "end", "expected"),
    [
        ("pass", "os._exit(4)", "the recording could not be written: "),
        ("pass", "os._exit(2)", "Locust ended with exit code 2: "),
        ("1 / 0", "pass", "Locust failed though no request did: ZeroDivisionError: division by zero"),
        ("pass", "pass", "no request was recorded; last words of the service: going down now"),
        ("pass", f"{RUN_JSON}.unlink()", "exit code 0, and x_run.json can't be read (No such file or directory)"),
        ("os._exit(1)", "pass", "exit code 1, and x_run.json can't be read (it does not tell of an end)"),
    ],
)
def test_a_recording_that_failed_is_not_taken_for_requests_that_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, end: str, expected: str
) -> None:
    (tmp_path / "locustfiles").mkdir()
    code = OWN_END.format(real=str(ROOT / "locustfiles"), task=task, end=end)
    (tmp_path / "locustfiles" / "x.py").write_text(code)
    monkeypatch.setattr(load, "ROOT", tmp_path)
    with pytest.raises(DeploymentError) as told:
        replay(tmp_path, f"http://127.0.0.1:{free_port()}", locustfile="x")
    assert expected in str(told.value)


RECORD = RunRecord(
    user_class="KeepAliveUser",
    warm_up_s=0,
    started_at_unix_s=1_700_000_000,
    ended_at_unix_s=1_700_000_012,
    ended_by="run time",
    requests=160,
    failures=1,
    texts=Texts(sha256="a", count=160),
    replicas=Replicas(list=(), problems=()),
    generator=Generator(cpu_warnings=0),
)


def test_what_is_wrong_with_a_recording_is_told_and_an_incomplete_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "single_pass_run.json"
    lost = {"kind": "rows lost", "text": "3 rows\n could not be written"}
    path.write_text(json.dumps(RECORD.to_json() | {"faults": [lost]}))
    recorded = load._read_recorded(tmp_path / "single_pass")
    assert recorded.faults == (("rows lost", "3 rows could not be written"),)
    assert load._why_not_whole(recorded, is_single_pass=True) is None
    path.write_text(json.dumps(RECORD.to_json() | {"faults": [{"kind": "incomplete", "text": "159 of 160 texts"}]}))
    assert load._why_not_whole(load._read_recorded(tmp_path / "single_pass"), is_single_pass=True) == "159 of 160 texts"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"requests": True}, "requests is True, which is no whole number"),
        ({"requests": -1}, "requests is -1, which is not between"),
        ({"requests": None}, "requests is missing, though the run ended"),
        ({"failures": "0"}, "failures is '0', which is no whole number"),
        ({"failures": None}, "it does not tell requests, failures and texts.count"),
        ({"failures": 161}, "failures is 161, more than requests, 160"),
        ({"texts": None}, "texts is missing"),
        ({"texts": {"sha256": "a"}}, "it does not tell requests, failures and texts.count"),
        ({"ended_at_unix_s": None}, "it does not tell of an end"),
        ({"faults": [1]}, "faults number 1 is 1, which is no table"),
        ({"faults": [{"kind": "rows lost"}]}, "faults number 1: text is missing"),
        ({"faults": None}, "faults is missing"),
        ({"form": 1}, "it is of form 1, this version reads forms 2 and 3"),
    ],
)
def test_a_record_that_garbles_its_counts_is_not_taken(tmp_path: Path, wrong: dict[str, Any], expected: str) -> None:
    (tmp_path / "load_run.json").write_text(json.dumps(RECORD.to_json() | wrong))
    with pytest.raises(ValueError, match=expected):
        load._read_recorded(tmp_path / "load")


def test_a_host_process_that_is_killed_fails_its_round_at_once(tmp_path: Path) -> None:
    quick = ["--set", "rounds=1", "seconds=600", "warm_up_s=1"]
    run = infra("run", "--only", "host", "--results", str(tmp_path), *quick, "--port", f"host={free_port()}")
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*/host/round-1/load_run.json")):
        assert time.monotonic() < until
        time.sleep(0.1)
    (service,) = [child for child in psutil.Process(run.pid).children() if child.cmdline()[-1] == "inference"]
    os.kill(service.pid, signal.SIGKILL)
    said = said_by(run)
    assert run.returncode == 1, said
    (measured,) = deployments(tmp_path)["host"]["rounds"]
    assert measured["status"] == FAILED
    assert measured["reason"].startswith(
        "the service ended by signal 9 (Killed); a person or another program killed it"
    )
    assert "; the last line of its log: " in measured["reason"]
    assert measured["runs"] == ["single_pass"]
    assert measured["reason"] in said
