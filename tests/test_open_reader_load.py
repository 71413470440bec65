"""What a fresh reader of the open workload found: what a run by hand says of its requests, and how it is planned."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import requests
from _open_counts import open_warnings
from conftest import ROOT, free_port
from prometheus_client.parser import text_string_to_metric_families
from test_locust_runs import locust, record
from test_open_load import one_at_a_time, rows_so_far

from infra.deployments.host import _who_killed
from infra.deployments.waiting import until_true


def test_a_run_of_the_web_ui_keeps_its_own_options_and_tells_what_was_changed(tmp_path: Path) -> None:
    port, master_port = free_port(), str(free_port())
    prefix, second = tmp_path / "web", tmp_path / "web_run2"
    options = ["--web-host", "127.0.0.1", "--web-port", str(port), "--processes", "2"]
    options += ["--master-bind-port", master_port, "--master-port", master_port, "--replicas", "none"]
    url = f"http://127.0.0.1:{port}"
    form = {"user_count": "2", "spawn_rate": "2", "rate": "20", "arrivals": "constant"}
    with one_at_a_time() as (service, _):
        run = locust("open_load", service, prefix, *options, headless=False)
        try:
            assert until_true(lambda: _workers(url) == 2, 30)
            _send(url, form)
            assert until_true(lambda: rows_so_far(prefix) > 10, 30)
            _send(url, form | {"rate": "abc"})
            _send(url, form | {"rate": "25", "arrivals": "poisson"})
            due = _metric(url, "fourfold_requests_due_total")
            assert due is not None
            assert due > 10
            assert _metric(url, "fourfold_requests_over_bound_total") == 0
            requests.post(f"{url}/stop", timeout=10)
            _send(url, form | {"rate": "30", "arrivals": "poisson"})
            assert until_true(lambda: rows_so_far(second) > 3, 30)
        finally:
            run.send_signal(signal.SIGINT)
            run.wait(30)
    first = record(prefix)
    assert (first["open"]["rate_per_s"], first["open"]["arrivals"]) == (20.0, "constant")
    assert [fault["text"] for fault in first["faults"]] == [
        "rate of the web UI's form: 'abc' is not a number of requests per second from 0.001 to 1,000,000; 20.0 was "
        "used",
        "rate of the web UI's form: changed from 20.0 to 25.0 while the load ran; results of the whole run mix both",
        "arrivals of the web UI's form: it can't be changed while the load runs; constant was used. Stop the load, and "
        "start anew",
    ]
    assert (record(second)["open"]["rate_per_s"], record(second)["faults"]) == (30.0, [])
    assert "'abc' is not a number" in prefix.with_name("web.log").read_text()


def _send(url: str, form: dict[str, str]) -> None:
    assert requests.post(f"{url}/swarm", data=form, timeout=10).json()["success"]


def _workers(url: str) -> int:
    try:
        return int(requests.get(f"{url}/stats/requests", timeout=2).json()["worker_count"])
    except (requests.RequestException, KeyError, ValueError):
        return 0


def _metric(url: str, name: str) -> float | None:
    families = text_string_to_metric_families(requests.get(f"{url}/metrics", timeout=10).text)
    values = [sample.value for family in families for sample in family.samples if sample.name == name]
    return values[0] if values else None


def test_a_run_by_hand_says_at_its_end_that_the_service_could_not_keep_up(tmp_path: Path) -> None:
    prefix = tmp_path / "overload"
    with one_at_a_time() as (service, _):
        options = ["--rate", "200", "--most-in-flight", "5", "--replicas", "none", "-t", "2"]
        assert locust("open_load", service, prefix, *options).wait(60) == 0
    said = prefix.with_name("overload.log").read_text()
    assert "requests are due at 200 per second (--rate), constant" in said
    assert "the service could not keep up with the rate" in said
    assert f"{record(prefix)['open']['over_bound']:,} (" in said


def test_what_was_late_or_lost_is_warned_of_from_one_percent_on() -> None:
    assert open_warnings({}) == []
    assert open_warnings({"due": 1000, "late": 5, "dropped": 5, "over bound": 5, "unanswered": 5}) == []
    (generator,) = open_warnings({"due": 1000, "late": 5, "dropped": 6})
    assert "it sent 5 (0.5%) more than 10 ms late, and dropped 6 (0.6%)" in generator
    (service,) = open_warnings({"due": 92_945, "over bound": 59_629, "unanswered": 1000})
    assert "59,629 (64.2%) were not sent" in service


LEAVE = """
import sys, time
from types import SimpleNamespace
sys.path[:0] = [{locustfiles!r}, {root!r}]
import gevent
from _arrivals import Arrivals
from _open import OpenLoad

visit = SimpleNamespace(block=1)
visits = SimpleNamespace(is_on=True, rate_per_s=100.0, begin_request=lambda: visit, end_request=lambda _: None)
unsent = []
fourfold = SimpleNamespace(visits=visits, note_unsent=lambda *args: unsent.append(args))
options = SimpleNamespace(rate=100.0, most_in_flight=1000, arrivals="constant", seed=0)
runner = SimpleNamespace(target_user_count=3, worker_index=0)
load = OpenLoad(SimpleNamespace(parsed_options=options, runner=runner, fourfold=fourfold, shape_class=None))
sent = []
load._send = lambda due_s, _: sent.append(due_s)
for _ in range(8):  # five of them have yet to stop
    load.add_user()
assert load.rate_per_s() == 100.0, load.rate_per_s()
gevent.sleep(0.1)
time.sleep(0.1)  # the replicas are read, and nothing can be sent
load.leave()
gevent.sleep(0.05)
assert 17 <= len(sent) <= 21, len(sent)
assert not unsent, unsent
"""


def test_what_is_due_when_a_step_ends_is_sent_and_a_rate_is_never_exceeded() -> None:
    script = LEAVE.format(locustfiles=str(ROOT / "locustfiles"), root=str(ROOT))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_lack_of_memory_is_told_only_if_the_kernel_says_so() -> None:
    assert _who_killed(3, 3).startswith("a person or another program killed it (")
    assert _who_killed(3, 4) == "the kernel killed a process because memory was short, probably this one"
    assert "or the kernel because memory was short" in _who_killed(None, None)
