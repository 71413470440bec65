"""Real Locust against the real service: what a run leaves behind."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from conftest import ROOT, Service, forwarder, free_port, start_service, stop, wait_for

from infra.deployments.waiting import until_true
from runfiles.columns import (
    MACHINE_STATS_COLUMNS,
    REPLICA_EVENTS_COLUMNS,
    REPLICA_STATS_COLUMNS,
    REQUEST_COLUMNS,
    column_names,
)
from runfiles.events import MEASURED, WARM_UP
from runfiles.files import REPLICA_STATS_SUFFIX, REQUESTS_SUFFIX, RUN_RECORD_SUFFIX


def locust(
    locustfile: str, service: Service | str, prefix: Path, *arguments: str, headless: bool = True
) -> subprocess.Popen[str]:
    """Start Locust in a process group of its own; its output is in PREFIX.log."""
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / f"{locustfile}.py")]
    command += ["--headless", "--only-summary"] if headless else []
    command += ["--host", service if isinstance(service, str) else service.url, "--csv", str(prefix), *arguments]
    with prefix.with_name(prefix.name + ".log").open("w") as log:
        return subprocess.Popen(
            command, cwd=prefix.parent, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def has_rows(path: str) -> bool:
    return Path(path).exists() and rows(path) != []


def record(prefix: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(Path(f"{prefix}{RUN_RECORD_SUFFIX}").read_text())
    return said


def totals_agree(prefix: Path) -> int:
    """The number of requests, after checking that Locust's own totals and ours say the same."""
    requested = rows(f"{prefix}{REQUESTS_SUFFIX}")
    (total,) = [row for row in rows(f"{prefix}_stats.csv") if row["Name"] == "Aggregated"]
    assert len(requested) == int(total["Request Count"]) == record(prefix)["requests"]
    assert sum(bool(row["error"]) for row in requested) == int(total["Failure Count"]) == record(prefix)["failures"]
    times = [float(row["response_time_ms"]) for row in requested]
    assert sum(times) / len(times) == pytest.approx(float(total["Average Response Time"]))
    return len(requested)


def texts() -> list[str]:
    return [row["text"] for row in rows(str(ROOT / "texts" / "reviews.csv"))]


def test_the_single_pass_sends_each_text_once_in_order_and_ends(own_service: Service, tmp_path: Path) -> None:
    prefix = tmp_path / "single"
    assert locust("single_pass", own_service, prefix, "--users", "5").wait(60) == 0
    assert totals_agree(prefix) == 160
    requested = rows(f"{prefix}{REQUESTS_SUFFIX}")
    assert [int(row["text_id"]) for row in requested] == list(range(1, 161))
    assert [row["connection_reused"] for row in requested] == ["0"] + ["1"] * 159
    assert {row["replica"] for row in requested} == {"test-replica"}
    assert all(float(row["response_time_ms"]) > float(row["inference_ms"]) > 0 for row in requested)
    said = record(prefix)
    assert said["ended_by"] == "all texts sent"
    assert said["service"]["model"]["source"] == "folder"
    assert said["texts"]["count"] == 160
    stop(own_service)
    assert own_service.metrics.read_bytes().count(b"\n") == 161
    assert [row["Input Text"] for row in rows(str(own_service.metrics))] == texts()


def test_latency_test_prints_every_query(own_service: Service) -> None:
    script = [str(ROOT / "infra" / "latency_test.sh"), "127.0.0.1", str(own_service.port)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=True)
    queries = [line for line in done.stdout.splitlines() if line.startswith("Query ")]
    assert queries == [f"Query {number}" for number in range(1, 161)]
    assert "POSITIVE,This movie was fantastic!" in done.stdout
    assert own_service.metrics.read_bytes().count(b"\n") == 161


@pytest.mark.parametrize(("locustfile", "opened"), [("keep_alive", 3), ("new_connection", None)])
def test_users_keep_or_renew_their_connections(
    shared_service: Service, tmp_path: Path, locustfile: str, opened: int | None
) -> None:
    prefix = tmp_path / locustfile
    assert locust(locustfile, shared_service, prefix, "-u", "3", "-r", "3", "-t", "3", "--warm-up", "1").wait(60) == 0
    assert totals_agree(prefix) > 30
    requested = rows(f"{prefix}{REQUESTS_SUFFIX}")
    over_new_ones = sum(row["connection_reused"] == "0" for row in requested)
    assert over_new_ones == (len(requested) if opened is None else opened)
    assert {row["phase"] for row in requested} == {WARM_UP, MEASURED}
    began = record(prefix)["started_at_unix_s"]
    assert all((float(row["started_at_unix_s"]) < began + 1) == (row["phase"] == "warm-up") for row in requested)
    assert record(prefix)["ended_by"] == "run time"


def test_the_process_behind_the_port_is_sampled(shared_service: Service, tmp_path: Path) -> None:
    prefix, process = tmp_path / "sampled", psutil.Process(shared_service.process.pid)
    before = process.cpu_times()
    assert locust("keep_alive", shared_service, prefix, "-u", "2", "-t", "3").wait(60) == 0
    after = process.cpu_times()
    samples = rows(f"{prefix}{REPLICA_STATS_SUFFIX}")
    lasted_s = record(prefix)["ended_at_unix_s"] - record(prefix)["started_at_unix_s"]
    assert 4 <= len(samples) < lasted_s / 0.25 + 3
    assert {(sample["replica"], sample["replica_id"]) for sample in samples} == {
        ("test-replica", str(shared_service.process.pid))
    }
    assert {sample["net_rx_bytes"] for sample in samples} == {""}
    used = float(samples[-1]["cpu_seconds"]) - float(samples[0]["cpu_seconds"])
    spent = after.user + after.system - before.user - before.system
    assert spent / 2 < used < spent + 0.05
    assert record(prefix)["replicas"]["found"] == f"process:{shared_service.process.pid}"


def test_an_address_in_another_form_is_loaded_and_sampled(shared_service: Service, tmp_path: Path) -> None:
    prefix = tmp_path / "form"
    written = f"http://me:secret@0.0.0.0:{shared_service.port}/"
    assert locust("keep_alive", shared_service, prefix, "--host", written, "-t", "2").wait(60) == 0
    assert totals_agree(prefix) > 20
    said = record(prefix)
    assert said["host"] == shared_service.url
    assert [replica["name"] for replica in said["replicas"]["list"]] == ["test-replica"]
    assert "secret" not in json.dumps(said)


def test_who_answers_behind_a_proxy_is_told_with_the_option_that_samples_it(
    shared_service: Service, tmp_path: Path
) -> None:
    prefix = tmp_path / "proxied"
    with forwarder("unheard-of", shared_service.port) as (url, pid):
        assert locust("keep_alive", shared_service, prefix, "--host", url, "-t", "2").wait(60) == 0
    said = record(prefix)
    assert [(replica["name"], replica["id"]) for replica in said["replicas"]["list"]] == [("unheard-of", str(pid))]
    option = f"--replicas process:{shared_service.process.pid}"
    text = f"test-replica answered and was not sampled (sampled: unheard-of); use {option}"
    assert said["faults"] == [{"kind": "unsampled", "text": text}]
    assert text in said["replicas"]["problems"]
    assert text in prefix.with_name("proxied.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_lost_when_a_run_is_interrupted(
    shared_service: Service, tmp_path: Path, number: signal.Signals
) -> None:
    prefix = tmp_path / "cut"
    run = locust("keep_alive", shared_service, prefix, "-u", "4", "-r", "4")
    requested = Path(f"{prefix}{REQUESTS_SUFFIX}")
    until = time.monotonic() + 30
    while (not requested.exists() or requested.read_bytes().count(b"\n") < 200) and time.monotonic() < until:
        time.sleep(0.1)
    for pause_s in (0.005, 0.05, 0.0):  # an impatient hand
        run.send_signal(number)
        time.sleep(pause_s)
    assert run.wait(30) == 0
    assert totals_agree(prefix) >= 200
    assert record(prefix)["ended_by"] == "interrupted"
    assert record(prefix)["ended_at_unix_s"]


def test_requests_that_fail_are_recorded_with_their_reason(tmp_path: Path) -> None:
    service = wait_for(start_service(tmp_path))
    prefix = tmp_path / "failing"
    run = locust("keep_alive", service, prefix, "-u", "2", "-t", "60")
    requested = f"{prefix}{REQUESTS_SUFFIX}"

    def answers() -> list[str]:
        return [row["status"] for row in rows(requested)] if Path(requested).exists() else []

    assert until_true(lambda: answers().count("200") >= 50, 30)
    service.process.kill()
    service.process.wait(30)
    assert until_true(lambda: "0" in answers(), 30)
    run.terminate()
    assert run.wait(30) == 1
    totals_agree(prefix)
    last = rows(requested)[-1]
    assert last["status"] == "0"
    assert "refused" in last["error"]
    assert last["inference_ms"] == ""


def test_workers_rows_come_together(shared_service: Service, tmp_path: Path) -> None:
    prefix = tmp_path / "workers"
    port = str(free_port())
    arguments = ["--processes", "4", "-u", "8", "-r", "8", "-t", "4", "--master-bind-port", port, "--master-port", port]
    assert locust("keep_alive", shared_service, prefix, *arguments).wait(60) == 0
    assert totals_agree(prefix) > 50
    generator = record(prefix)["generator"]
    assert generator["processes"] == 5
    assert generator["cpu_percent_all"] > generator["cpu_percent"] > 1


def test_no_worker_loses_a_row_on_ctrl_c(own_service: Service, tmp_path: Path) -> None:
    prefix, port = tmp_path / "workers", str(free_port())
    arguments = ["--processes", "2", "-u", "4", "-r", "4", "--master-bind-port", port, "--master-port", port]
    run = locust("keep_alive", own_service, prefix, *arguments)
    requested = Path(f"{prefix}{REQUESTS_SUFFIX}")
    until = time.monotonic() + 30
    while (not requested.exists() or requested.read_bytes().count(b"\n") < 200) and time.monotonic() < until:
        time.sleep(0.1)
    for _ in range(2):
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the workers too
        time.sleep(0.03)
    run.wait(30)
    stop(own_service)
    with own_service.metrics.open(encoding="utf-8", newline="") as file:
        answered = sum(1 for _ in csv.DictReader(file))
    assert answered - 4 <= totals_agree(prefix) <= answered  # a user in mid-request is cut off before its answer
    assert record(prefix)["ended_by"] == "interrupted"


def test_a_worker_that_is_lost_is_told(shared_service: Service, tmp_path: Path) -> None:
    prefix, port = tmp_path / "workers", str(free_port())
    arguments = ["--processes", "2", "-u", "4", "-r", "4", "--master-bind-port", port, "--master-port", port]
    run = locust("keep_alive", shared_service, prefix, *arguments)
    requested = Path(f"{prefix}{REQUESTS_SUFFIX}")
    assert until_true(lambda: requested.exists() and requested.read_bytes().count(b"\n") > 200, 30)
    psutil.Process(run.pid).children()[0].kill()
    time.sleep(1)
    ended_unix_s = time.time()
    run.send_signal(signal.SIGINT)
    run.wait(30)
    totals_agree(prefix)
    (fault,) = record(prefix)["faults"]
    assert fault["kind"] == "rows lost"
    text = r"worker \S+ was lost \d+ s before the end; no count includes the requests it did not report"
    assert re.fullmatch(text, fault["text"])
    assert record(prefix)["ended_at_unix_s"] - ended_unix_s < 8  # and not after the 10 s that a lost one is waited for


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--replicas=pod:web", "expected auto, none, container:NAME"),
        ("--replicas=process:x", "'process:x'"),
        ("--host=http://127.0.0.1:99999", "'99999' is not a port; expected one number from 1 to 65535"),
    ],
)
def test_a_slip_in_the_arguments_ends_before_the_run(
    shared_service: Service, tmp_path: Path, argument: str, expected: str
) -> None:
    prefix = tmp_path / "slip"
    assert locust("keep_alive", shared_service, prefix, argument).wait(30) == 2
    assert expected in prefix.with_name("slip.log").read_text()


def test_a_second_run_under_the_web_ui_has_files_of_its_own(shared_service: Service, tmp_path: Path) -> None:
    prefix, port = tmp_path / "web", free_port()
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "keep_alive.py")]
    command += ["--web-host", "127.0.0.1", "--web-port", str(port), "--csv", str(prefix), "--host", shared_service.url]
    with (tmp_path / "web.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"BROWSER": "true"})
    web = f"http://127.0.0.1:{port}"
    try:
        for changed in ({}, {"user_count": "3", "warm_up": "60", "replicas": "no-such-thing"}):
            swarm(web, {"host": f"{shared_service.url.replace('127.0.0.1', '0.0.0.0')}/"} | changed)
            requested = f"{prefix}_run2_requests.csv" if changed else f"{prefix}_requests.csv"
            assert until_true(partial(has_rows, requested), 30)
            assert requests.post(f"{web}/stop", timeout=10).ok
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    first, second = rows(f"{prefix}_requests.csv"), rows(f"{prefix}_run2_requests.csv")
    assert first
    assert second
    assert (record(prefix)["users"], record(prefix)["warm_up_s"]) == (2, 0)
    assert (record(Path(f"{prefix}_run2"))["users"], record(Path(f"{prefix}_run2"))["warm_up_s"]) == (3, 60)
    assert record(prefix)["host"] == shared_service.url
    assert record(prefix)["replicas"]["found"] == f"process:{shared_service.process.pid}"
    assert {row["phase"] for row in first} == {"measured"}
    assert {row["phase"] for row in second} == {"warm-up"}
    (fault,) = record(Path(f"{prefix}_run2"))["faults"]
    assert fault["kind"] == "option"
    assert "replicas of the web UI's form: 'no-such-thing'; expected auto, none, container:NAME" in fault["text"]
    assert record(prefix)["faults"] == []
    assert float(first[-1]["started_at_unix_s"]) < float(second[0]["started_at_unix_s"])
    assert record(prefix)["ended_by"] == "stopped"
    (total,) = [row for row in rows(f"{prefix}_stats.csv") if row["Name"] == "Aggregated"]
    assert int(total["Request Count"]) == len(second)


@pytest.mark.parametrize("base", ["", "/load"])
def test_the_web_ui_shows_replicas_live_and_gives_the_files(shared_service: Service, tmp_path: Path, base: str) -> None:
    """Also without --csv: what is shown is then kept only as long as Locust runs."""
    port = free_port()
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "keep_alive.py")]
    command += ["--web-host", "127.0.0.1", "--web-port", str(port)] + (["--web-base-path", base] if base else [])
    with (tmp_path / "web.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=tmp_path)
    web = f"http://127.0.0.1:{port}{base}"
    try:
        assert until_true(lambda: answers_at(f"{web}/replicas/data"), 30)
        assert requests.get(f"{web}/replicas/data", timeout=10).json() == {"charts": {}, "table": []}
        assert requests.get(f"{web}/replicas/requests.csv", timeout=10).status_code == 404
        swarm(web, {"host": shared_service.url})

        def table() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = requests.get(f"{web}/replicas/data", timeout=10).json()["table"]
            return found

        assert until_true(lambda: any(row["requests"] > 20 and isinstance(row["cpu"], float) for row in table()), 30)
        (row,) = table()
        assert row["replica"] == "test-replica"
        assert row["share"] == 100
        assert row["memory"] > 20
        assert row["received"] == "not measured"
        (tab,) = requests.get(f"{web}/stats/requests", timeout=10).json()["extended_stats"]
        assert tab["key"] == "replicas"
        assert tab["data"][0]["replica"] == "test-replica"
        charts = requests.get(f"{web}/replicas/data", timeout=10).json()["charts"]
        assert set(charts) == {"cpu", "memory", "network", "requests"}
        assert sum(charts["requests"]["test-replica"]["y"]) > 10
        assert f'src="{base}/replicas/plotly.js"' in requests.get(f"{web}/replicas", timeout=10).text
        for name, columns in (
            ("requests", REQUEST_COLUMNS),
            ("replica_stats", REPLICA_STATS_COLUMNS),
            ("replica_events", REPLICA_EVENTS_COLUMNS),
            ("machine_stats", MACHINE_STATS_COLUMNS),
        ):
            given = requests.get(f"{web}/replicas/{name}.csv", timeout=10)
            read = list(csv.DictReader(given.text.splitlines()))
            assert list(read[0]) == column_names(columns)
            assert "attachment" in given.headers["Content-Disposition"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert [path.name for path in tmp_path.iterdir()] == ["web.log"]


def answers_at(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def swarm(web: str, changed: dict[str, str]) -> None:
    """Start a run in the web UI, as soon as it answers."""
    until = time.monotonic() + 30
    form = {"user_count": "2", "spawn_rate": "2", "replicas": "auto", "warm_up": "0", "replica_interval": "1"} | changed
    while True:
        try:
            assert requests.post(f"{web}/swarm", data=form, timeout=10).ok
        except requests.ConnectionError:
            assert time.monotonic() < until
            time.sleep(0.1)
        else:
            return
