"""Locust runs that meet a full disk, a clock that is wrong, a form filled in badly or a service that is not ours."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import ROOT, Service, free_port
from foreign_service import CSV, answer, foreign_service, in_turn
from test_row_file import small_disk

from infra.deployments.waiting import until_true
from runfiles.events import RECORDING_FAILED_EXIT_CODE, STOPPED
from runfiles.files import REQUESTS_SUFFIX, RUN_RECORD_SUFFIX
from runfiles.strict_json import read_record

LOCUSTFILES = ROOT / "locustfiles"
HEALTHY = answer(body=b'{"status": "ok", "replica": "foreign"}')

ASK_HEALTH = f"""
import json, sys
sys.path[:0] = [{str(ROOT)!r}, {str(LOCUSTFILES)!r}]
import locust, logging
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from _health import health
for url in sys.argv[1:]:
    print(json.dumps(health(url, "/health")))
"""
"""As in Locust, whose sockets are gevent's."""

CLOSED_EARLY = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(LOCUSTFILES)!r}]
import locust, gevent
from locust import env, stats
from _locust_files import LocustFiles
stats.CSV_STATS_INTERVAL_SEC = 0.1
files = LocustFiles(env.Environment(), [0.5], sys.argv[1])
gevent.spawn(files.stats_writer)
gevent.sleep(0.05)
files.close_files()
gevent.sleep(0.2)
"""
"""As Locust with workers, which waits for them when its files are closed."""

CLOCK = """
import time
real = time.time
time.time = lambda: real() + 20
"""
"""A worker's sitecustomize.py."""

CLOCK_THAT_IS_SET = """
import os
import time
real = time.time
time.time = lambda: real() - 3600 * os.path.exists({flag!r})
"""
"""A sitecustomize.py: the clock is set back by an hour as soon as there is such a file."""


def start(locustfile: str, url: str, prefix: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Locust headless; its output is in PREFIX.log beside the folder of the run, which may be full."""
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILES / f"{locustfile}.py"), "--headless"]
    command += ["--host", url, "--csv", str(prefix), "--only-summary", *arguments]
    with log_of(prefix).open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, env=os.environ | environment)


def log_of(prefix: Path) -> Path:
    return prefix.parent.with_name(f"{prefix.parent.name}.log")


def run(locustfile: str, url: str, prefix: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Locust's exit code and its words."""
    prefix.parent.mkdir(exist_ok=True)
    code = start(locustfile, url, prefix, *arguments, **environment).wait(60)
    return code, log_of(prefix).read_text()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def requested(prefix: Path) -> list[dict[str, str]]:
    found = rows(Path(f"{prefix}{REQUESTS_SUFFIX}"))
    assert all(None not in row and None not in row.values() for row in found)
    return found


def record(prefix: Path) -> dict[str, Any]:
    said: dict[str, Any] = read_record(Path(f"{prefix}{RUN_RECORD_SUFFIX}"))
    return said


def faults(prefix: Path) -> dict[str, str]:
    """Kind -> text."""
    return {fault["kind"]: fault["text"] for fault in record(prefix)["faults"]}


def fill(disk: Path, prefix: Path) -> None:
    """Leave no block free, once some requests are recorded."""
    path = Path(f"{prefix}{REQUESTS_SUFFIX}")
    assert until_true(lambda: path.exists() and path.stat().st_size > 0, 30)
    subprocess.run(["dd", "if=/dev/zero", f"of={disk}/filler", "bs=4k"], stderr=subprocess.DEVNULL, check=False)


def full(prefix: Path) -> bool:
    return "rows can't be written (No space left on device)" in log_of(prefix).read_text()


def test_a_disk_that_is_full_for_a_while_costs_no_row(shared_service: Service, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        prefix = disk / "run"
        locust = start("keep_alive", shared_service.url, prefix, "-u", "2", "-r", "2", "--replica-interval", "0.1")
        fill(disk, prefix)
        assert until_true(lambda: full(prefix), 30)
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        assert until_true(lambda: "can be written again" in log_of(prefix).read_text(), 30)
        locust.send_signal(signal.SIGINT)
        assert locust.wait(30) == 0
        log = log_of(prefix).read_text()
        assert (log.count("can't be written"), log.count("can be written again"), log.count("Traceback")) == (1, 1, 0)
        (total,) = [row for row in rows(disk / "run_stats.csv") if row["Name"] == "Aggregated"]
        assert len(requested(prefix)) == record(prefix)["requests"] == int(total["Request Count"]) > 0
        assert record(prefix)["faults"] == []
        assert sorted(path.name for path in disk.iterdir() if path.suffix not in (".csv", ".json")) == ["filler"]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, "run time"])
def test_a_disk_that_stays_full_is_told_by_the_record_and_the_exit_code(
    shared_service: Service, tmp_path: Path, end: signal.Signals | str
) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        prefix = disk / "run"
        time_limit = ["-t", "4"] if isinstance(end, str) else []
        locust = start("keep_alive", shared_service.url, prefix, "-u", "2", *time_limit)
        fill(disk, prefix)
        assert until_true(lambda: full(prefix), 30)
        if not isinstance(end, str):
            locust.send_signal(end)
        assert locust.wait(30) == RECORDING_FAILED_EXIT_CODE
        there, said = len(requested(prefix)), record(prefix)
        assert said["ended_by"] == (end if isinstance(end, str) else "interrupted")
        assert said["ended_at_unix_s"]
        assert said["requests"] > there
        text = f"{said['requests'] - there} of {said['requests']} rows of run_requests.csv are not in it"
        assert {"kind": "rows lost", "text": text} in said["faults"]
        assert "Traceback" not in log_of(prefix).read_text()


def test_a_full_log_neither_repeats_a_text_nor_hides_the_exit_code(shared_service: Service, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        (disk / "filler").write_bytes(bytes(40_000))
        with (disk / "log").open("w") as log:
            command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILES / "single_pass.py"), "--headless"]
            command += ["--host", shared_service.url, "--csv", str(tmp_path / "run"), "--replicas", "none"]
            code = subprocess.run(command, stdout=log, stderr=log, timeout=60, check=False).returncode
        assert disk.joinpath("log").stat().st_size < 40_000
    assert code == 0
    assert [int(row["text_id"]) for row in requested(tmp_path / "run")] == list(range(1, 161))


def test_nothing_is_written_to_locusts_own_files_once_they_are_closed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLOSED_EARLY, str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Aggregated" in (tmp_path / "run_stats.csv").read_text()


def test_a_folder_swapped_for_a_link_is_left_alone_with_all_its_files(shared_service: Service, tmp_path: Path) -> None:
    prefix, canary = tmp_path / "host" / "round-1" / "load", tmp_path / "canary"
    prefix.parent.mkdir(parents=True)
    (canary / "round-1").mkdir(parents=True)
    names = ("load_run.json", "load_run.json.reserve", "load_requests.csv")
    for name in names:
        (canary / "round-1" / name).write_text("not ours")
    locust = start("keep_alive", shared_service.url, prefix, "-u", "1", "--replicas", "none")
    assert until_true(lambda: Path(f"{prefix}{REQUESTS_SUFFIX}").exists() and requested(prefix) != [], 30)
    prefix.parents[1].rename(tmp_path / "moved")
    prefix.parents[1].symlink_to(canary)
    locust.send_signal(signal.SIGINT)
    assert locust.wait(30) == RECORDING_FAILED_EXIT_CODE
    assert {path.name: path.read_text() for path in (canary / "round-1").iterdir()} == dict.fromkeys(names, "not ours")
    log = (tmp_path / "moved" / "round-1.log").read_text()
    assert "load_run.json could not be written (another folder has taken its place): this run is not recorded" in log
    assert "rows of " in log
    assert "Traceback" not in log


def test_a_record_that_another_program_replaced_is_left_alone(shared_service: Service, tmp_path: Path) -> None:
    prefix = tmp_path / "run" / "run"
    prefix.parent.mkdir()
    written = Path(f"{prefix}{RUN_RECORD_SUFFIX}")
    locust = start("keep_alive", shared_service.url, prefix, "-u", "1", "--replicas", "none")
    assert until_true(lambda: Path(f"{prefix}{REQUESTS_SUFFIX}").exists() and requested(prefix) != [], 30)
    (tmp_path / "other").write_text("not ours")
    (tmp_path / "other").replace(written)
    locust.send_signal(signal.SIGINT)
    assert locust.wait(30) == RECORDING_FAILED_EXIT_CODE
    assert written.read_text() == "not ours"
    assert "run_run.json could not be written (another file has taken its place)" in log_of(prefix).read_text()


def test_a_run_that_can_not_be_recorded_ends_before_it_begins(tmp_path: Path) -> None:
    asked = threading.Event()

    def note(path: str) -> bytes:
        asked.set()
        return answer()

    (tmp_path / "file").write_text("")
    with foreign_service(note) as url:
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILES / "keep_alive.py"), "--headless", "-t", "2"]
        command += ["--host", url, "--csv", str(tmp_path / "file" / "run")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "error: argument --csv:" in line
    assert "choose another prefix" in line
    assert not asked.is_set()


def test_two_locusts_do_not_write_the_same_files(tmp_path: Path) -> None:
    prefix, other = tmp_path / "run" / "run", tmp_path / "other" / "run"
    with foreign_service(in_turn([answer()], HEALTHY), pause_s=0.02) as url:
        first = start("keep_alive", url, prefix, "--replicas", "none")
        path = Path(f"{prefix}{REQUESTS_SUFFIX}")
        assert until_true(lambda: path.exists() and path.stat().st_size > 500, 30)
        code, log = run("keep_alive", url, other, "--replicas", "none", "-t", "3", "--csv", str(prefix))
        assert code == RECORDING_FAILED_EXIT_CODE
        assert f"{prefix}_stats.csv: another Locust is writing it; choose another --csv PREFIX" in log
        first.send_signal(signal.SIGINT)
        assert first.wait(30) == 0
    assert len(requested(prefix)) == record(prefix)["requests"] > 0
    assert record(prefix)["faults"] == []


def test_files_that_are_cut_short_or_replaced_are_told_by_the_exit_code(tmp_path: Path) -> None:
    prefix = tmp_path / "run" / "run"
    with foreign_service(in_turn([answer()], HEALTHY), pause_s=0.02) as url:
        locust = start("keep_alive", url, prefix, "--replicas", "none")
        path, said = Path(f"{prefix}{REQUESTS_SUFFIX}"), Path(f"{prefix}{RUN_RECORD_SUFFIX}")
        assert until_true(lambda: path.exists() and path.stat().st_size > 500, 30)
        os.truncate(path, 300)
        locust.send_signal(signal.SIGINT)
        assert locust.wait(30) == RECORDING_FAILED_EXIT_CODE
        lost = record(prefix)["requests"] - len(requested(prefix))
        assert lost > 0
        text = f"{lost} of {record(prefix)['requests']} rows of run_requests.csv are not in it"
        assert faults(prefix) == {"rows lost": text}
        assert b"\0" not in path.read_bytes()

        path.unlink()
        locust = start("keep_alive", url, prefix, "--replicas", "none")
        assert until_true(lambda: path.exists() and path.stat().st_size > 500, 30)
        other = said.with_name("other.json")
        other.write_text("not ours")
        other.replace(said)
        Path(f"{prefix}_stats.csv").unlink()
        locust.send_signal(signal.SIGINT)
        assert locust.wait(30) == RECORDING_FAILED_EXIT_CODE
    assert said.read_text() == "not ours"
    assert "run_run.json could not be written (another file has taken its place)" in log_of(prefix).read_text()
    assert "run_stats.csv was removed while the run went on" in log_of(prefix).read_text()


def test_workers_requests_are_dated_by_the_masters_clock(tmp_path: Path) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    skewed = {"PYTHONPATH": str(tmp_path / "clock")}
    prefix, port = tmp_path / "run" / "run", str(free_port())
    prefix.parent.mkdir()
    with foreign_service(in_turn([answer()], HEALTHY), pause_s=0.02) as url:
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILES / "keep_alive.py")]
        workers = [
            subprocess.Popen(
                [*command, "--worker", "--master-port", port],
                env=os.environ | environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for environment in ({}, skewed)
        ]
        arguments = ["--master", "--expect-workers", "2", "--master-bind-port", port, "--replicas", "none"]
        arguments += ["-u", "2", "-r", "2", "--warm-up", "2", "-t", "4"]
        code = start("keep_alive", url, prefix, *arguments).wait(60)
        for worker in workers:
            worker.wait(30)
    assert code == 0
    began = record(prefix)["started_at_unix_s"]
    ages = [float(row["started_at_unix_s"]) - began for row in requested(prefix)]
    assert -0.5 < min(ages) < max(ages) < 12
    assert {row["phase"] for row in requested(prefix)} == {"warm-up", "measured"}
    assert all((age < 2) == (row["phase"] == "warm-up") for age, row in zip(ages, requested(prefix), strict=True))
    told = re.search(r"was (\d+\.\d) s ahead of the master's", faults(prefix)["clock"])
    assert told is not None
    assert float(told[1]) == pytest.approx(20, abs=0.5)  # a busy master gets each report late
    assert log_of(prefix).read_text().count("s clock") == 1


def test_a_run_ends_soon_after_its_last_worker_is_lost(tmp_path: Path) -> None:
    prefix, port = tmp_path / "run" / "run", str(free_port())
    prefix.parent.mkdir()
    with foreign_service(in_turn([answer()], HEALTHY), pause_s=0.02) as url:
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILES / "keep_alive.py"), "--worker"]
        worker = subprocess.Popen(
            [*command, "--master-port", port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        arguments = ["--master", "--expect-workers", "1", "--master-bind-port", port, "--replicas", "none"]
        master = start("keep_alive", url, prefix, *arguments, "-u", "1", "-t", "120")
        assert until_true(lambda: Path(f"{prefix}{REQUESTS_SUFFIX}").exists() and requested(prefix) != [], 60)
        worker.kill()
        worker.wait()
        assert master.wait(60) == 1
    assert "was lost" in faults(prefix)["rows lost"]
    assert "no worker is left, so Locust ends" in log_of(prefix).read_text()
    assert record(prefix)["ended_by"] == STOPPED


def test_a_clock_that_is_set_back_during_a_run_makes_no_figure_negative(
    shared_service: Service, tmp_path: Path
) -> None:
    (tmp_path / "clock").mkdir()
    flag, prefix = tmp_path / "set", tmp_path / "run" / "run"
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK_THAT_IS_SET.format(flag=str(flag)))
    prefix.parent.mkdir()
    arguments = ["--replicas", "none", "-u", "1", "-t", "4"]
    locust = start("keep_alive", shared_service.url, prefix, *arguments, PYTHONPATH=str(tmp_path / "clock"))
    sent = Path(f"{prefix}{REQUESTS_SUFFIX}")
    assert until_true(lambda: sent.exists() and sent.read_bytes().count(b"\n") > 1, 30)
    flag.touch()
    assert locust.wait(60) == 0, log_of(prefix).read_text()
    assert "was set back by 3,600.0 s during the run" in faults(prefix)["clock"]
    assert 0 < record(prefix)["ended_at_unix_s"] - record(prefix)["started_at_unix_s"] < 60
    assert min(float(row["Requests/s"]) for row in rows(Path(f"{prefix}_stats.csv"))) > 1


def test_workers_of_this_machine_are_believed(tmp_path: Path) -> None:
    port = str(free_port())
    arguments = ["--processes", "2", "-u", "2", "-t", "3", "--master-bind-port", port, "--master-port", port]
    with foreign_service(in_turn([answer()], HEALTHY), pause_s=0.02) as url:
        code, _ = run("keep_alive", url, tmp_path / "run" / "run", "--replicas", "none", *arguments)
    assert code == 0
    assert record(tmp_path / "run" / "run")["faults"] == []


def test_a_single_pass_that_is_cut_off_says_how_many_texts_were_sent(tmp_path: Path) -> None:
    prefix = tmp_path / "run" / "run"
    with foreign_service(in_turn([answer()], HEALTHY), pause_s=0.2) as url:
        code, log = run("single_pass", url, prefix, "--replicas", "none", "-u", "3", LOCUST_RUN_TIME="3")
    assert code == 0
    sent = len(requested(prefix))
    assert 0 <= sent < 160
    assert faults(prefix) == {"incomplete": f"{sent} of 160 texts were sent"}
    assert log.count(f"{sent} of 160 texts were sent") == 1


def test_a_host_with_a_slash_at_its_end_is_loaded(tmp_path: Path) -> None:
    paths = set()

    def choose(path: str) -> bytes:
        paths.add(path)
        return answer()

    with foreign_service(choose) as url:
        code, log = run("single_pass", f"{url}/", tmp_path / "run" / "run", "--replicas", "none")
    assert (code, log.count("Traceback")) == (0, 0)
    assert len(requested(tmp_path / "run" / "run")) == 160
    assert paths == {"/health", "/infer"}
    assert record(tmp_path / "run" / "run")["host"] == url


def test_a_host_from_the_environment_is_checked_too() -> None:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILES / "keep_alive.py"), "--headless", "-t", "1"]
    environment = os.environ | {"LOCUST_HOST": "http://h:99999"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "'http://h:99999' is not the address of a service: '99999' is not a port" in done.stderr


def test_why_health_can_not_be_had_is_told_plainly(tmp_path: Path) -> None:
    port = free_port()
    _, log = run("keep_alive", f"http://127.0.0.1:{port}", tmp_path / "run" / "run", "-t", "1", "--replicas", "none")
    assert f"does not say who serves: nobody listens at 127.0.0.1:{port}\n" in log
    with foreign_service(in_turn([answer()], answer(status="404 Not Found")), pause_s=0.02) as url:
        _, log = run("keep_alive", f"{url}/infer", tmp_path / "run" / "run", "-t", "1", "--replicas", "none")
    assert "status 404; leave the path out of --host if the service has none\n" in log


ODD_ANSWERS = [
    *(answer(f"Server-Timing: {value}") for value in ("queue;dur=1.2.3", "queue;dur=nan", "queue;dur=1e400", ";", '"')),
    answer('Server-Timing: queue;desc="a,b";dur=2', 'Server-Timing: inference;dur="3.5"'),
    *(answer(f"X-Replica: {name}") for name in ("constructor", "__proto__", '=HYPERLINK("http://x")', "a,b", "é", "")),
    answer("X-Replica: " + "x" * 7000),
    *(answer(f"Content-Encoding: {coding}") for coding in ("gzip", "br", "deflate", "zstd", "compress")),
    answer("Content-Encoding: gzip", body=gzip.compress(CSV)),
    answer("Content-Type: text/csv; charset=nonsense"),
    answer(body=b"\xff\xfe\x00"),
    answer("Location: http://[::1", status="302 Found"),
    answer("Location: http://127.0.0.1:99999/", status="302 Found"),
    answer("Location: ftp://x/", status="302 Found"),
    answer(status="999 Odd"),
    answer(status="204 No Content", body=b""),
    b"garbage\r\n\r\n",
    b"",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
]


def test_no_answer_of_a_foreign_service_loses_a_row(tmp_path: Path) -> None:
    """And each text is sent once, whatever the answers to those before it were."""
    prefix = tmp_path / "run" / "run"
    with foreign_service(in_turn(ODD_ANSWERS, HEALTHY)) as url:
        code, log = run("single_pass", url, prefix, "--replicas", "none", PYTHONIOENCODING="latin-1")
    assert code == 1
    assert "Traceback" not in log
    found = requested(prefix)
    assert [int(row["text_id"]) for row in found] == list(range(1, 161))
    assert record(prefix)["requests"] == 160
    assert record(prefix)["faults"] == []
    assert [row["queue_ms"] for row in found[:6]] == ["", "", "", "", "", "2.0"]
    assert found[5]["inference_ms"] == "3.5"
    assert [row["replica"] for row in found[6:10]] == ["constructor", "__proto__", '=HYPERLINK("http://x")', "a,b"]
    assert len(found[12]["replica"]) < 300
    assert [bool(row["error"]) for row in found[13:21]] == [True] * 5 + [False] * 3
    assert {row["status"] for row in found[13:18]} == {"200"}


def test_health_says_nothing_that_would_break_the_record(tmp_path: Path) -> None:
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    bodies = {
        "good": b'{"replica": "r", "model": {"name": "\\u00e9"}}',
        "huge": b'{"a": "' + b"x" * 10**6 + b'"}',
        "deep": deep,
        "deeper": deep.replace(b'{"a":', b'{"a":' * 100),
        "surrogate": b'{"replica": "\\ud800"}',
        "latin": b'{"replica": "\xe9"}',
        "nan": b'{"replica": NaN}',
        "infinite": b'{"replica": 1e999}',
        "integer": b'{"replica": 1' + b"0" * 5000 + b"}",
        "list": b"[1, 2]",
        "twice": b'{"a": 1, "a": 2}',
        "html": b"<html>",
        "empty": b"",
    }

    def choose(path: str) -> bytes:
        name = path.split("/")[1]
        if name == "elsewhere":
            return answer("Location: /good/health", status="302 Found")
        if name == "failing":
            return answer(body=bodies["good"], status="503 Busy")
        if name == "hanging":
            time.sleep(5)
        return answer(body=bodies[name])

    with foreign_service(choose) as url:
        names = [*bodies, "elsewhere", "failing", "hanging"]
        proxies = {"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
        done = subprocess.run(
            [sys.executable, "-c", ASK_HEALTH, *(f"{url}/{name}" for name in names)],
            env=os.environ | proxies,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    lines = done.stdout.splitlines()
    assert json.loads(lines[0]) == {"replica": "r", "model": {"name": "é"}}
    assert set(lines[1:]) - {line for line in lines if "does not say who serves: " in line} == {"null"}
    assert lines[1:].count("null") == len(names) - 1


@contextmanager
def web_ui(prefix: Path, *arguments: str, codes: list[int] | None = None) -> Iterator[str]:
    """Its URL. Its exit code is added to ``codes``."""
    port = free_port()
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILES / "keep_alive.py"), "--web-host", "127.0.0.1"]
    command += ["--web-port", str(port), "--csv", str(prefix), *arguments]
    with log_of(prefix).open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"BROWSER": "true"})
    try:
        assert until_true(lambda: _answers(f"http://127.0.0.1:{port}"), 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        (codes if codes is not None else []).append(process.wait(30))


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def _has_rows(path: Path) -> bool:
    return path.exists() and path.read_bytes().count(b"\n") > 5


def swarm(web: str, **form: str) -> dict[str, Any]:
    given = {"user_count": "1", "spawn_rate": "1"} | form
    said: dict[str, Any] = requests.post(f"{web}/swarm", data=given, timeout=30).json()
    return said


def test_a_form_that_is_filled_in_badly_is_recorded_with_what_was_used(tmp_path: Path) -> None:
    garbage = {"warm_up": "nan", "replica_interval": "inf", "seed": "9" * 5000, "replicas": "pod:x", "requests": "-1"}
    names = {"warm up", "replica interval", "seed", "replicas", "requests"}
    prefix = tmp_path / "run" / "run"
    prefix.parent.mkdir()
    forms = [garbage, dict.fromkeys(garbage, "x"), dict.fromkeys([*garbage, "host", "run_time"], "")]
    options = ["--replicas", "none", "--warm-up", "7", "--run-time", "9"]
    service = foreign_service(in_turn([answer("X-Replica: =1+1")], HEALTHY), pause_s=0.02)
    with service as url, web_ui(prefix, "--host", url, *options) as web:
        for number, form in enumerate(forms, start=1):
            assert swarm(web, **({"host": f"{url}/"} | form))["success"]
            own = Path(str(prefix) if number == 1 else f"{prefix}_run{number}")
            sent = Path(f"{own}{REQUESTS_SUFFIX}")
            assert until_true(partial(_has_rows, sent), 30)
            download = requests.get(f"{web}/replicas/requests.csv", timeout=10).content.decode()
            assert {row["replica"] for row in csv.DictReader(download.splitlines())} == {"'=1+1"}
            assert requests.post(f"{web}/stop", timeout=10).ok
            assert {row["replica"] for row in requested(own)} == {"=1+1"}
            said = record(own)
            assert (said["warm_up_s"], said["seed"], said["end_after_requests"]) == (7, 0, None)
            assert (said["replicas"]["asked"], said["replicas"]["interval_s"], said["host"]) == ("none", 0.25, url)
            assert {fault["kind"] for fault in said["faults"]} == {"option"}
            told = {fault["text"].partition(" of the web UI's form")[0] for fault in said["faults"]}
            assert told == (names if number < 3 else names - {"requests"} | {"host"})
        assert said["run_time_s"] is None
        refused = swarm(web, host="http://127.0.0.1:99999")
        assert not refused["success"]
        assert "'http://127.0.0.1:99999' is not the address of a service: '99999' is not a port" in refused["message"]
        # Locust's own doubts come after ours, and the next form begins anew.
        assert "user_count" in swarm(web, host=url, user_count="")["message"]
    assert "Traceback" not in log_of(prefix).read_text()


def test_rows_that_a_run_lost_are_told_at_the_end_of_the_web_ui(tmp_path: Path) -> None:
    prefix = tmp_path / "run" / "run"
    prefix.parent.mkdir()
    service = foreign_service(in_turn([answer()], HEALTHY), pause_s=0.02)
    codes: list[int] = []
    with service as url, web_ui(prefix, "--host", url, "--replicas", "none", codes=codes) as web:
        for own in (prefix, Path(f"{prefix}_run2")):
            assert swarm(web, host=url, run_time="60")["success"]
            sent = Path(f"{own}{REQUESTS_SUFFIX}")
            assert until_true(partial(_has_rows, sent), 30)
            if own == prefix:
                os.truncate(sent, 200)
            assert requests.post(f"{web}/stop", timeout=10).ok
            assert record(own)["ended_by"] == STOPPED
    assert set(faults(prefix)) == {"rows lost"}
    assert record(own)["faults"] == []
    assert codes == [RECORDING_FAILED_EXIT_CODE]
