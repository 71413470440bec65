"""Locust with our user classes, against services that a test scripts."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from conftest import ROOT
from test_client import OK, Script, service

from infra.deployments.waiting import until_true
from runfiles.files import REQUESTS_SUFFIX, RUN_RECORD_SUFFIX

MANY: Script = [OK] * 100_000

BEGIN = f"""
import sys
sys.path.insert(0, {str(ROOT / "locustfiles")!r})
from locust import LoadTestShape, constant, events
from locust.exception import RescheduleTask, StopUser
from keep_alive import KeepAliveUser
import _listeners
from _visits import Visit

KeepAliveUser.wait_time = constant(0.01)
"""

WITHOUT_PAUSE = """
del KeepAliveUser.wait_time
"""

STOP_USER = """
sent = 0

@events.request.add_listener
def stop_the_user(**_):
    global sent
    sent += 1
    if sent == 2:
        raise RescheduleTask
    if sent == 4:
        raise StopUser
"""

BY_TURNS = """
class ByTurns:
    begun = ended = 0
    is_on = True

    def __init__(self, *_):
        pass

    def begin_request(self):
        self.begun += 1
        block = self.begun % 4 // 2
        return Visit(HOSTS[block], f"/infer ({block})", block)

    def end_request(self, visit):
        self.ended += 1

_listeners.Visits = ByTurns  # which Locust makes as it begins

@events.test_stop.add_listener
def tell(environment, **_):
    visits = environment.fourfold.visits
    print("begun and ended:", visits.begun, visits.ended)
"""

FEWER = """
class Fewer(LoadTestShape):
    def tick(self):
        return (3, 3) if self.get_run_time() < 1.5 else (1, 3)
"""


def start(folder: Path, locustfile: str, *arguments: str) -> subprocess.Popen[str]:
    path = folder / "load.py"
    path.write_text(locustfile)
    command = [sys.executable, "-m", "locust", "-f", str(path), "--headless", "--csv", str(folder / "run")]
    command += ["--replicas", "none", "--only-summary", *arguments]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, env=os.environ, cwd=folder)


def requested(folder: Path) -> list[dict[str, str]]:
    with (folder / f"run{REQUESTS_SUFFIX}").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def record(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / f"run{RUN_RECORD_SUFFIX}").read_text())
    return said


def posts(requests: list[bytes]) -> int:
    return sum(request.startswith(b"POST ") for request in requests)


def test_requests_that_were_sent_again_are_told_and_counted(tmp_path: Path) -> None:
    with service([OK]) as made:
        code = start(tmp_path, BEGIN, "--host", f"http://127.0.0.1:{made.port}", "-u", "2", "-r", "2", "-t", "2").wait(
            60
        )
    rows = requested(tmp_path)
    assert code == 0
    assert len(rows) > 20
    assert [row["retried"] for row in rows].count("0") == 2  # the first one of each user
    assert {row["connection_reused"] for row in rows} == {"0"}
    assert {row["block"] for row in rows} == {""}
    assert record(tmp_path)["retries"] == len(rows) - 2


def test_the_exceptions_that_steer_locust_reach_it_from_a_listener(tmp_path: Path) -> None:
    with service(MANY) as made:
        code = start(tmp_path, BEGIN + STOP_USER, "--host", f"http://127.0.0.1:{made.port}", "-t", "2").wait(60)
        assert posts(made.requests) == 4
    assert code == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_without_a_pause_a_listener_steers_locust_after_the_request_under_way(tmp_path: Path) -> None:
    with service(MANY) as made:
        locustfile = BEGIN + WITHOUT_PAUSE + STOP_USER
        code = start(tmp_path, locustfile, "--host", f"http://127.0.0.1:{made.port}", "-t", "2").wait(60)
        assert posts(made.requests) == 5
    assert code == 0
    rows = requested(tmp_path)
    # Locust tells no further listener of the two for which this one raised. The last request has no other after it.
    assert [row["error"] for row in rows] == [""] * 3
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_without_a_pause_a_listener_may_end_the_test(tmp_path: Path) -> None:
    stop_test = STOP_USER.replace("StopUser", "StopTest").replace("RescheduleTask", "StopTest")
    with service(MANY) as made:
        locustfile = BEGIN + WITHOUT_PAUSE + "from locust.exception import StopTest\n" + stop_test
        start(tmp_path, locustfile, "--host", f"http://127.0.0.1:{made.port}", "-t", "5").wait(60)
        assert posts(made.requests) == 3
    assert [row["error"] for row in requested(tmp_path)] == [""] * 2


def test_without_a_pause_each_answered_request_is_reported_once(tmp_path: Path) -> None:
    with service(MANY[:50]) as made:
        locustfile = BEGIN + WITHOUT_PAUSE
        code = start(tmp_path, locustfile, "--host", f"http://127.0.0.1:{made.port}", "-t", "2").wait(60)
    assert code in (0, 1)
    answered = [row for row in requested(tmp_path) if row["status"] == "200"]
    assert len(answered) == len({row["started_at_unix_s"] for row in answered})
    assert len(answered) >= 49  # one of the 50 answers was that on the service's health


def test_a_user_keeps_a_connection_to_each_deployment_that_it_visits(tmp_path: Path) -> None:
    with service(MANY) as one, service(MANY) as two:
        hosts = f"HOSTS = ['http://127.0.0.1:{one.port}', 'http://127.0.0.1:{two.port}']\n"
        first = f"http://127.0.0.1:{one.port}"
        code = start(tmp_path, BEGIN + hosts + BY_TURNS, "--host", first, "-u", "3", "-r", "3", "-t", "2").wait(60)
        asked_health = len(one.requests) - posts(one.requests)
        assert [one.opened - asked_health, two.opened] == [3, 3]
    assert code == 0
    rows = requested(tmp_path)
    counts = Counter(row["block"] for row in rows)
    assert set(counts) == {"0", "1"}
    assert min(counts.values()) > 20
    assert [row["connection_reused"] for row in rows].count("0") == 6
    with (tmp_path / "run_stats.csv").open() as file:
        named = {row["Name"]: int(row["Request Count"]) for row in csv.DictReader(file)}
    assert named == {"/infer (0)": counts["0"], "/infer (1)": counts["1"], "Aggregated": len(rows)}
    begun, ended = map(int, (tmp_path / "log").read_text().partition("begun and ended: ")[2].split()[:2])
    assert begun == ended >= len(rows)


def test_a_user_that_a_load_shape_stops_closes_its_connection(tmp_path: Path) -> None:
    with service(MANY) as made:
        locust = start(tmp_path, BEGIN + FEWER, "--host", f"http://127.0.0.1:{made.port}")
        try:
            assert until_true(lambda: posts(made.requests) > 20, 30)
            assert until_true(lambda: made.opened - made.left >= 3, 30)
            # The last user's is left. How many were opened to ask for the service's health is not always the same.
            assert until_true(lambda: made.opened - made.left == 1, 30)
            sent = posts(made.requests)
            assert until_true(lambda: posts(made.requests) > sent + 10, 30)
            assert made.opened - made.left == 1
        finally:
            locust.terminate()
            locust.wait(30)


def test_without_a_host_the_run_ends_and_says_how_to_name_one(tmp_path: Path) -> None:
    start(tmp_path, BEGIN, "-t", "2").wait(60)
    assert "name the service to load, such as --host http://127.0.0.1:5000" in (tmp_path / "log").read_text()
    assert requested(tmp_path) == []
