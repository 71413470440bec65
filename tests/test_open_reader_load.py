"""What a fresh reader of the open workload found: what a run by hand says of its requests, and how it is planned."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from _open_counts import open_warnings
from conftest import ROOT, free_port
from prometheus_client.parser import text_string_to_metric_families
from test_locust_runs import locust, record
from test_open_load import one_at_a_time, rows_so_far

from infra.deployments.host import _who_killed
from infra.deployments.waiting import until_true
from infra.errors import PlanError
from infra.experiment.plan import plan_of, read_plan
from infra.experiment.progress import staircase_in_words


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


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_run_by_hand_says_at_its_end_that_the_service_could_not_keep_up(tmp_path: Path, processes: str) -> None:
    prefix, port = tmp_path / "overload", str(free_port())
    with one_at_a_time() as (service, _):
        options = ["--rate", "200", "--most-in-flight", "5", "--replicas", "none", "-t", "2"]
        options += ["--processes", processes, "--master-bind-port", port, "--master-port", port]
        assert locust("open_load", service, prefix, *options).wait(60) == 0
    said = prefix.with_name("overload.log").read_text()
    assert said.count("the service could not keep up") == 1
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


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        ("", ["rates=[]"], '--set: rates = an empty list is not a list of 1 to 100 rising rates, such as [20, 40, '
         '80], or "auto"; the default is none'),
        ("", ["arrivals=poisson"], "--set: arrivals has no effect, because the load has users and no rate; add a rate "
         "(rate=50), or leave arrivals out"),
        ('arrivals = "constant"', [], "FILE: arrivals has no effect, because the load has users and no rate"),
        ("", ["rate=50", "users=16"], "--set: users has no effect, because the load has a rate; leave users out"),
        ("", ["rates=[20]", "precision=3"], "--set: precision has no effect, because the load is a staircase of rates"),
        ('seconds = 3\n[capacity]\nslo = "p95 < 100 ms"', [], "FILE: seconds has no effect, because the load is a "),
        ('[capacity]\nslo = "p95 < 100 ms"', ["budget_minutes=60", "requests=5"], "--set: requests has no effect"),
        ('[capacity]\nslo = "p95 < 100"', [], 'FILE: [capacity]: slo = "p95 < 100" is not an objective'),
        ("[capacity]\ntolerance = 0", [], "FILE: [capacity]: tolerance = 0 is not a percentage from 0.5 to 100; the "
         "default is 3.0"),
        ("[capacity]", [], "FILE: [capacity]: slo is missing, the objective; add slo = "),
        ('[capacity]\nslo = "p95 < 1 s"\nlowest = 9\nhighest = 5', [], "FILE: [capacity]: lowest = 9 is not below"),
        ("[grid]\nreplicas = 3", [], "FILE: [grid]: replicas = 3 is not a list, such as [1, 2, 3]"),
    ],
)  # fmt: skip
def test_what_a_plan_can_t_do_is_refused_in_one_sentence(
    tmp_path: Path, text: str, overrides: list[str], expected: str
) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(PlanError) as told:
        read_plan(path, overrides)
    said = str(told.value).replace(str(path), "FILE")
    assert said.startswith(expected)
    assert said.count("the default is") <= 1
    assert "a table" not in said


def test_a_closed_plan_s_file_may_get_a_rate_and_be_continued(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('users = 16\narrivals = "poisson"\nrates = [5, 10]')
    with pytest.raises(PlanError, match="users has no effect"):
        read_plan(path)
    path.write_text("users = 16")
    for overrides in (["rate=50"], ["rates=[5, 10]"], ["rates=none"]):
        plan = read_plan(path, overrides)
        assert plan_of(plan.record, "experiment.json") == plan


def test_a_staircase_says_how_long_a_round_takes() -> None:
    auto = read_plan(None, ["rates=auto"], "host,docker,compose")
    said = staircase_in_words(auto)
    assert said.startswith("A round takes about 11 min if all is answered: 21 rates of 8 s for each of 3 deployments. ")
    assert said.endswith(" The first round is measured to its end, even if it takes longer than 6 min.")
    short = staircase_in_words(read_plan(None, ["rates=[20, 40]", "seconds=4", "rounds=2"], "host"))
    assert short.startswith("A round takes about 22 s if all is answered: 2 rates of 4 s for 1 deployment. ")
    assert "longer than" not in short
