"""An open workload: real Locust sends when a request is due, whatever becomes of earlier ones."""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests
from conftest import ROOT, Service, free_port, is_open, start_service, stop, wait_for
from test_locust_runs import locust, record, rows, totals_agree

from infra.deployments.waiting import until_true
from runfiles.files import REQUESTS_SUFFIX
from runfiles.spikes import Spike

from _arrivals import Arrivals


def times_ms(prefix: Path, column: str = "response_time_ms") -> list[float]:
    return [float(row[column]) for row in rows(f"{prefix}{REQUESTS_SUFFIX}") if row["phase"] == "measured"]


def due(kind: str, seed: str, number: int, rate: float = 50.0) -> list[float]:
    arrivals, at, found = Arrivals(kind, seed), 0.0, []
    for _ in range(number):
        at = arrivals.next_after(at, rate)
        found.append(at)
    return found


def test_constant_arrivals_have_one_distance() -> None:
    assert due("constant", "0/0", 4) == pytest.approx([0.02, 0.04, 0.06, 0.08])


def test_poisson_arrivals_have_exponential_distances_that_the_seed_decides() -> None:
    times = due("poisson", "1/0", 20_000)
    gaps = [after - before for before, after in zip([0.0, *times], times, strict=False)]
    assert statistics.mean(gaps) == pytest.approx(0.02, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.02, rel=0.03)
    assert sum(gap > 0.02 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.015)  # 1/e
    assert due("poisson", "1/0", 5) == times[:5] != due("poisson", "1/1", 5)


def test_arrivals_in_a_spike_come_so_many_times_as_often_and_nothing_else_changes() -> None:
    spikes = [Spike(2.1, 3, 2.0), Spike(10.0, 2, 1.0)]
    for kind, slack in (("constant", 1), ("poisson", 400)):  # 400: five standard deviations of 6,000
        arrivals, at, times = Arrivals(kind, "1/0"), 0.0, []
        while at < 20:
            times.append(at := arrivals.next_after(at, 1000.0, spikes))
        for begin, end, expected in ((0, 2.1, 2100), (2.1, 4.1, 6000), (4.1, 10, 5900), (10, 11, 2000), (11, 20, 9000)):
            assert sum(begin < at <= end for at in times) == pytest.approx(expected, abs=slack)
    # A distance of 10 s begins 4 s before a spike. In the spike 6 s of it take 2 s.
    assert Arrivals("constant", "0").next_after(0.0, 0.1, [Spike(4.0, 3, 5.0)]) == pytest.approx(6.0)
    # A spike of 1 s takes 3 s of it; the other 3 s come after that.
    assert Arrivals("constant", "0").next_after(0.0, 0.1, [Spike(4.0, 3, 1.0)]) == pytest.approx(8.0)


TELL_A_WORKER = """
import _users
import time
from types import SimpleNamespace
from _open import OpenLoad
from _recording import Recording

recording, sent = object.__new__(Recording), []
recording._started_at_unix_s = time.time() - 2.5
environment = SimpleNamespace(
    fourfold=SimpleNamespace(recording=recording),
    parsed_options=SimpleNamespace(spike=["10:2:1", "4:3:1"], warm_up=2.0),
    runner=SimpleNamespace(send_message=lambda name, data: sent.append(data), target_user_count=4),
)
OpenLoad(environment)._tell_all_users()
worker = OpenLoad(environment)
worker._note_all_users(SimpleNamespace(data=list(sent[0])))
print(worker._all_users, *(spike.at_s - time.perf_counter() for spike in worker._spikes))
"""


def test_workers_know_from_their_master_when_a_spike_begins() -> None:
    """In a process of its own: Locust patches sockets."""
    command = [sys.executable, "-c", TELL_A_WORKER]
    told = subprocess.run(command, cwd=ROOT / "locustfiles", capture_output=True, text=True, timeout=60, check=True)
    users, *begin_in_s = map(float, told.stdout.split())
    assert users == 4
    # 2.5 s of the run are over, of which 2 s are warm-up: the spike of second 4 begins in 3.5 s.
    assert begin_in_s == pytest.approx([3.5, 9.5], abs=0.5)


@pytest.mark.parametrize("connection", ["kept", "new"])
def test_requests_are_sent_at_the_rate_and_totals_agree(
    shared_service: Service, tmp_path: Path, connection: str
) -> None:
    prefix = tmp_path / connection
    run = locust("open_load", shared_service, prefix, "--rate", "30", "--connection", connection, "-t", "4")
    assert run.wait(60) == 0
    requested = totals_agree(prefix)
    said = record(prefix)
    told = said["open"]
    assert {name: told[name] for name in ("rate_per_s", "arrivals", "connection", "most_in_flight")} == {
        "rate_per_s": 30.0,
        "arrivals": "constant",
        "connection": connection,
        "most_in_flight": 1000,
    }
    unsent = told["dropped"] + told["over_bound"] + told["unanswered"]
    sent = rows(f"{prefix}{REQUESTS_SUFFIX}")
    began = min(float(row["started_at_unix_s"]) for row in sent)
    ended = max(float(row["started_at_unix_s"]) for row in sent)
    assert requested + unsent - 1 == pytest.approx(30 * (ended - began), abs=3)
    assert told["late"] == sum(late > 10 for late in times_ms(prefix, "send_delay_ms"))
    assert all(row["connection_reused"] == "0" for row in sent) == (connection == "new")
    assert said["user_class"] == "OpenUser"


@pytest.mark.parametrize("number", [signal.SIGINT, None])
def test_four_workers_share_the_rate_and_lose_nothing(
    shared_service: Service, tmp_path: Path, number: signal.Signals | None
) -> None:
    prefix, port = tmp_path / "shared", str(free_port())
    end = ["-t", "6"] if number is None else []
    options = ["--rate", "40", "--arrivals", "poisson", "--processes", "4"]
    options += ["--master-bind-port", port, "--master-port", port]
    run = locust("open_load", shared_service, prefix, *options, *end)
    if number is not None:
        assert until_true(lambda: rows_so_far(prefix) > 120, 60)
        run.send_signal(number)
    assert run.wait(60) == 0
    assert totals_agree(prefix) > 100
    sent = sorted(float(row["started_at_unix_s"]) for row in rows(f"{prefix}{REQUESTS_SUFFIX}"))
    steady = [at for at in sent if sent[0] + 1 < at < sent[0] + 3]
    assert 40 - record(prefix)["open"]["dropped"] < len(steady) < 120  # 80 are due, with a standard deviation of 9
    assert record(prefix)["users"] == 4


def end(run: subprocess.Popen[str]) -> None:
    run.kill()
    run.wait()


def rows_so_far(prefix: Path) -> int:
    path = Path(f"{prefix}{REQUESTS_SUFFIX}")
    return path.read_bytes().count(b"\n") if path.exists() else 0


def halt_for_a_second(services: Sequence[int], loads: Mapping[Path, subprocess.Popen[str]], enough: int) -> None:
    """Stop these processes in the midst of their loads, for a second or more, which then run to their end."""
    try:
        assert until_true(lambda: min(map(rows_so_far, loads)) > enough, 60)
        for service in services:
            psutil.Process(service).suspend()
        time.sleep(1.0)
        for service in services:
            psutil.Process(service).resume()
        assert [run.wait(60) for run in loads.values()] == [0] * len(loads)
    finally:
        for run in loads.values():
            end(run)


@contextmanager
def one_at_a_time() -> Iterator[tuple[str, int]]:
    """The address and the process of a service that takes 15 ms for each request, one after the other."""
    port = free_port()
    command = [sys.executable, str(ROOT / "tests" / "apps" / "small_app.py")]
    with subprocess.Popen(command, env=os.environ | {"MODE": "one at a time", "PORT": str(port)}) as process:
        try:
            assert until_true(lambda: is_open("127.0.0.1", port), 30)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.kill()


def percentile_99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def test_a_service_that_stops_for_a_second_is_seen_by_the_open_workload_alone(tmp_path: Path) -> None:
    at_a_rate, closed = tmp_path / "open", tmp_path / "closed"
    options = ["-t", "20", "--replicas", "none"]
    with one_at_a_time() as (url, process), one_at_a_time() as (other_url, other):
        loads = {
            at_a_rate: locust("open_load", url, at_a_rate, "--rate", "50", *options),
            closed: locust("keep_alive", other_url, closed, "-u", "1", *options),
        }
        halt_for_a_second([process, other], loads, 300)
    assert percentile_99(times_ms(at_a_rate)) > 900
    assert percentile_99(times_ms(closed)) < 900
    assert max(times_ms(closed)) > 900  # it happened there too, to one request


def test_what_is_due_above_the_bound_is_counted_and_not_sent(own_service: Service, tmp_path: Path) -> None:
    prefix = tmp_path / "bound"
    options = ["--rate", "50", "--most-in-flight", "10", "-t", "6"]
    halt_for_a_second([own_service.process.pid], {prefix: locust("open_load", own_service, prefix, *options)}, 100)
    totals_agree(prefix)
    sent = rows(f"{prefix}{REQUESTS_SUFFIX}")
    begins = [float(row["started_at_unix_s"]) + float(row["send_delay_ms"]) / 1000 for row in sent]
    ends = [float(row["started_at_unix_s"]) + float(row["response_time_ms"]) / 1000 for row in sent]
    changes = sorted([(at - 0.001, -1) for at in ends] + [(at, 1) for at in begins])
    assert max(itertools.accumulate(change for _, change in changes)) == 10
    told = record(prefix)["open"]
    assert told["over_bound"] >= 30
    due = 50 * (float(sent[-1]["started_at_unix_s"]) - float(sent[0]["started_at_unix_s"])) + 1
    assert len(sent) + told["over_bound"] + told["dropped"] == pytest.approx(due, abs=5)


def test_what_is_not_answered_at_the_end_is_counted(own_service: Service, tmp_path: Path) -> None:
    prefix = tmp_path / "unanswered"
    run = locust("open_load", own_service, prefix, "--rate", "20")
    service = psutil.Process(own_service.process.pid)
    try:
        assert until_true(lambda: rows_so_far(prefix) > 20, 60)
        began_s = time.monotonic()
        service.suspend()
        time.sleep(1.0)
        run.terminate()
        assert run.wait(60) == 0
        took_s = time.monotonic() - began_s
    finally:
        service.resume()
        end(run)
    assert totals_agree(prefix) > 20
    assert 10 <= record(prefix)["open"]["unanswered"] <= 20 * took_s + 2


def test_with_a_shape_each_user_has_the_rate(shared_service: Service, tmp_path: Path) -> None:
    shape = tmp_path / "shape.py"
    shape.write_text(
        f"import sys\nsys.path.append({str(ROOT / 'locustfiles')!r})\n"
        "from open_load import *\nfrom locust import LoadTestShape\n\n"
        "class TwoSteps(LoadTestShape):\n"
        "    def tick(self):\n"
        "        t = self.get_run_time()\n"
        "        return None if t > 7 else (10, 100) if t < 3 else (30, 100)\n"
    )
    prefix = tmp_path / "run"
    run = locust("open_load", shared_service, prefix, "-f", str(shape), "--rate", "1")
    assert run.wait(60) == 0
    totals_agree(prefix)
    sent = sorted(float(row["started_at_unix_s"]) for row in rows(f"{prefix}{REQUESTS_SUFFIX}"))
    first = sum(sent[0] + 0.5 < at < sent[0] + 2.5 for at in sent)
    second = sum(sent[0] + 4.5 < at < sent[0] + 6.5 for at in sent)
    dropped = record(prefix)["open"]["dropped"]  # in no row
    assert 16 - dropped <= first <= 24
    assert 52 - dropped <= second <= 68


def test_the_rate_is_a_field_of_the_web_ui_and_can_be_changed(shared_service: Service, tmp_path: Path) -> None:
    port, prefix = free_port(), tmp_path / "web"
    options = ["--web-host", "127.0.0.1", "--web-port", str(port), "--rate", "7"]
    command = locust("open_load", shared_service, prefix, *options, headless=False)
    url = f"http://127.0.0.1:{port}"
    try:
        assert until_true(lambda: _answers(url), 30)
        page = requests.get(url, timeout=10).text
        assert '"rate"' in page
        form = {"user_count": "1", "spawn_rate": "1", "rate": "20", "host": shared_service.url}
        assert requests.post(f"{url}/swarm", data=form, timeout=10).json()["success"]
        assert until_true(lambda: rows_so_far(prefix) > 40, 30)
        assert requests.post(f"{url}/swarm", data=form | {"rate": "no"}, timeout=10).json()["success"]
        requests.get(f"{url}/stop", timeout=10)
    finally:
        command.terminate()
        command.wait(30)
    assert record(prefix)["open"]["rate_per_s"] == 20.0  # what can't be used in the midst of a load changes nothing
    sent = sorted(float(row["started_at_unix_s"]) for row in rows(f"{prefix}{REQUESTS_SUFFIX}"))
    assert sum(sent[0] <= at < sent[0] + 1.5 for at in sent) == pytest.approx(30, abs=4)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "0"], "'0' is not a number of requests per second from 0.001 to 1,000,000"),
        (["--arrivals", "uniform"], "'uniform' is not one of constant, poisson"),
        (["--most-in-flight", "none"], "'none' is not a whole number above 0"),
    ],
)
def test_a_slip_is_named(shared_service: Service, tmp_path: Path, options: list[str], said: str) -> None:
    prefix = tmp_path / "slip"
    assert locust("open_load", shared_service, prefix, *options).wait(60) == 2
    assert said in prefix.with_name("slip.log").read_text()


def test_a_service_that_goes_away_leaves_failures_not_silence(tmp_path: Path) -> None:
    service = wait_for(start_service(tmp_path))
    prefix = tmp_path / "gone"
    run = locust("open_load", service, prefix, "--rate", "20")
    assert until_true(lambda: rows_so_far(prefix) > 20, 60)
    stop(service)
    requested = Path(f"{prefix}{REQUESTS_SUFFIX}")
    assert until_true(lambda: requested.read_bytes().count(b"onnection") > 5, 30)
    run.terminate()
    assert run.wait(60) == 1
    totals_agree(prefix)
    assert record(prefix)["failures"] > 5
