"""Changes under load: what a plan may say of them, when they are made, and what becomes of the service."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from conftest import ROOT, free_port
from recorded_runs import write_run
from test_infra import infra, said_by

from infra.deployments.change import RESTART, Change, Made, change_container, change_process
from infra.deployments.containers import limits_of
from infra.deployments.docker_engine import Engine
from infra.deployments.ownership import labels
from infra.deployments.swarm_mode import ACTIVE, DRAINED, set_availability
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError, PlanError
from infra.experiment import changes
from infra.experiment.changes import Schedule, spikes_of, why_none_changed, why_not_changed, why_not_here
from infra.experiment.plan import Plan, plan_of, read_plan
from runfiles.columns import CHANGES_COLUMNS
from runfiles.deployments import DEPLOYMENTS
from runfiles.events import CPU, DRAIN, DRAIN_OVER, KILL, PAUSE, RESUME, SCALE, SPIKE, STOP, UPDATE

SPIKED = '{at_s=1, action="spike", times=3, seconds=2}'
KILLED = 'changes=[{at_s=4, action="kill"}]'


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_plan_that_kills_one_is_shipped() -> None:
    plan = read_plan(ROOT / "plans" / "kill_one.toml")
    assert plan.changes == (Change(10.0, KILL, replica=1),)
    assert (plan.layout, plan.rounds, plan.rate) == ("turns", 3, 20.0)
    assert plan_of(plan.record, "experiment.json") == plan


def test_the_plan_with_a_spike_is_shipped() -> None:
    plan = read_plan(ROOT / "plans" / "spike.toml")
    assert plan.changes == (Change(20.0, SPIKE, seconds=10.0, times=3.0),)
    assert list(map(str, spikes_of(plan.changes))) == ["20:3:10"]
    assert plan_of(plan.record, "experiment.json") == plan


def test_changes_come_in_the_order_of_time_and_each_deployment_is_alone() -> None:
    plan = read_plan(
        None, ["seconds=10", 'changes=[{at_s=5, action="scale", replicas=3}, {at_s=1, action="pause", seconds=2}]']
    )
    assert plan.changes == (Change(1.0, PAUSE, seconds=2.0), Change(5.0, SCALE, replicas=3))
    assert (plan.layout, plan.rounds) == ("turns", 3)
    assert plan_of(plan.record, "experiment.json") == plan
    assert Plan().record.changes == ()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["changes=3"], "is not a list of tables, such as [[changes]] with at_s = 5"),
        (["changes=[3]"], "is not a list of tables"),
        (['changes=[{action="kill"}]'], "at_s is missing"),
        (["changes=[{at_s=1}]"], "action is missing"),
        (
            ['changes=[{at_s=1, action="explode"}]'],
            'action = "explode" is not an action; choose one of: kill, stop, pause, scale, update, cpu, drain, spike',
        ),
        (['changes=[{at_s=1, action="pause"}]'], "pause needs seconds"),
        (['changes=[{at_s=1, action="scale"}]'], "scale needs replicas"),
        (['changes=[{at_s=1, action="kill", seconds=3}]'], "kill has no seconds"),
        (['changes=[{at_s=1, action="update", replica=1}]'], "update has no replica"),
        (['changes=[{at_s=1, action="kill", replcia=1}]'], "did you mean replica?"),
        (
            ['changes=[{at_s=20, action="kill"}]', "seconds=24"],
            "--set: the last change (kill at_s = 20) must end 5 s before the load does; set seconds = 25 or more; "
            "40 shows how it recovers",
        ),
        (['changes=[{at_s=11.5, action="pause", seconds=0.4}]', "seconds=16"], "set seconds = 17 or more; 32 shows"),
        (
            ['changes=[{at_s=1, action="pause", seconds=9}, {at_s=2, action="kill"}]'],
            "the kill at_s = 2 comes while replica 1 is paused (from 1 to 10 s), and no engine ends what is paused; "
            "set at_s = 10 or more",
        ),
        (
            ['changes=[{at_s=1, action="pause", seconds=9}, {at_s=2, action="kill", replica=2}]'],
            "the last change (pause at_s = 1) must end 5 s before the load does; set seconds = 15 or more; 30",
        ),
        (
            ['changes=[{at_s=8, action="pause", seconds=4}, {at_s=10, action="pause", seconds=6, replica=1}]'],
            "the pause of replica 1 at_s = 10 begins before that at_s = 8 has ended",
        ),
        (
            ['changes=[{at_s=1, action="pause", seconds=9, replica=2}, {at_s=2, action="update"}]'],
            "the update at_s = 2 comes while replica 2 is paused",
        ),
        (
            ['changes=[{at_s=1, action="drain", seconds=9}, {at_s=2, action="pause", seconds=1}]'],
            "the pause at_s = 2 comes while the node is drained",
        ),
        (['changes=[{at_s=1, action="cpu"}]'], "cpu needs cpus"),
        (['changes=[{at_s=1, action="cpu", cpus=0}]'], "cpus = 0 is not a number of cores from 0.01"),
        (['changes=[{at_s=1, action="kill", cpus=1}]'], "kill has no cpus"),
        (['changes=[{at_s=1, action="drain"}]'], "drain needs seconds"),
        (
            ['changes=[{at_s=1, action="drain", seconds=3}, {at_s=3, action="drain", seconds=1}]'],
            "the drain at_s = 3 begins before that at_s = 1 has ended",
        ),
        (["rate=9", 'changes=[{at_s=1, action="spike", seconds=3}]'], "spike needs times"),
        (["rate=9", 'changes=[{at_s=1, action="spike", times=3}]'], "spike needs seconds"),
        (
            ["rate=9", 'changes=[{at_s=1, action="spike", times=1, seconds=3}]'],
            "times = 1 is not how many times as high the rate is, from 1.1 to 100",
        ),
        (
            ["rate=9", 'changes=[{at_s=1, action="spike", times=3, seconds=3, replica=1}]'],
            "spike has no replica",
        ),
        (
            ['changes=[{at_s=1, action="spike", times=3, seconds=3}]'],
            "spike makes the rate of an open workload higher, and the plan has users; set rate",
        ),
        (
            ["rate=9", f"changes=[{SPIKED}, {SPIKED.replace('at_s=1', 'at_s=2')}]"],
            "the spike at_s = 2 begins before that at_s = 1 has ended",
        ),
        ([KILLED, "requests=100"], "changes need a load of known length; leave requests out"),
        ([KILLED, "rates=[4, 8]"], "changes need one load; leave rates, capacity and grid out"),
        ([KILLED, "grid.users=[4]"], "changes need one load"),
    ],
)
def test_slips_are_named(overrides: list[str], expected: str) -> None:
    with pytest.raises(PlanError, match=re.escape(expected)):
        read_plan(None, overrides)


@pytest.mark.parametrize(
    ("others", "last"),
    [
        ('{at_s=1, action="pause", seconds=4}, {at_s=2, action="pause", seconds=6, replica=2}', 8),
        ('{at_s=1, action="pause", seconds=4}, {at_s=5, action="pause", seconds=2}', 7),
        ('{at_s=1, action="pause", seconds=4}, {at_s=2, action="scale", replicas=3}, {at_s=5, action="kill"}', 5),
        ('{at_s=1, action="drain", seconds=4}, {at_s=2, action="kill"}', 5),
    ],
)
def test_changes_that_do_not_meet_are_taken(others: str, last: int) -> None:
    assert read_plan(None, [f"changes=[{others}]", f"seconds={last + 5}"]).seconds == last + 5


def test_errors_of_changes_name_the_plans_file(tmp_path: Path) -> None:
    plan = tmp_path / "own.toml"
    plan.write_text(f"changes = [{SPIKED}]\nseconds = 20\n", encoding="utf-8")
    with pytest.raises(PlanError, match=f"^{re.escape(str(plan))}: spike makes the rate"):
        read_plan(plan)
    with pytest.raises(PlanError, match=f"^{re.escape(str(plan))} and --set: the last change"):
        read_plan(plan, ["rate=9", "seconds=7"])


def test_a_plan_that_no_deployment_can_carry_out_is_refused_at_once(tmp_path: Path) -> None:
    options = ["--only", "docker,compose", "--results", str(tmp_path)]
    process = infra("run", *options, "--set", "seconds=20", 'changes=[{at_s=1, action="drain", seconds=2}]')
    assert said_by(process) == (
        "error: docker run, Docker Compose: the plan has drain, which is not possible here: only a swarm has nodes\n"
    )
    assert process.returncode == 2
    assert why_none_changed(["docker", "swarm-1"], [Change(1.0, DRAIN, seconds=2.0)]) is None
    assert not list(tmp_path.iterdir())


def test_what_a_deployment_can_not_do_is_said_before_it_starts() -> None:
    scale, update = Change(1.0, SCALE, replicas=3), Change(1.0, UPDATE)
    third = Change(2.0, KILL, replica=3)
    assert why_not_changed("swarm-1", [scale, update, third]) is None
    assert why_not_changed("docker", [Change(1.0, KILL), Change(2.0, PAUSE, seconds=1.0)]) is None
    assert "the plan has scale, which is not possible here: it is a single process or container" in str(
        why_not_changed("docker", [scale])
    )
    assert "nobody replaces a host process" in str(why_not_changed("host", [update]))
    assert why_not_changed("compose", [update]) is None
    cpu, drain = Change(1.0, CPU, cpus=0.5), Change(1.0, DRAIN, seconds=2.0)
    assert why_not_changed("swarm-1", [cpu, drain]) is None
    assert why_not_changed("compose-2", [cpu]) is None
    assert "a host process has no CPU limit" in str(why_not_changed("host", [cpu]))
    assert "only a swarm has nodes" in str(why_not_changed("docker", [drain]))
    for name in DEPLOYMENTS:
        assert why_not_changed(name, [Change(1.0, SPIKE, seconds=2.0, times=3.0)]) is None
    assert why_not_changed("compose-2", [third]) == ("the plan has kill of replica 3, and there are never more than 2")


class Changed:
    """A deployment that can be changed, and cannot be scaled."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, change: Change) -> Made:
        self.done.append(change.action)
        if change.action == SCALE:
            raise DeploymentError("no\nroom")
        return Made("web-1", change.action.upper())


def test_what_is_due_is_made_once_and_told_in_the_file(tmp_path: Path) -> None:
    prefix, deployment = tmp_path / "round-1" / "load", Changed()
    changes = [Change(0.0, PAUSE, seconds=60.0), Change(1.0, SCALE, replicas=2), Change(500.0, KILL)]
    schedule = Schedule(changes, prefix, 2.0, deployment)
    assert schedule.make_due() is None  # the load has not begun
    began = time.time() - 5
    write_run(tmp_path, "load", [], started_at_unix_s=began, ended_at_unix_s=None)
    assert schedule.make_due() == "scale: no room"
    assert schedule.make_due() is None
    schedule.close()
    assert deployment.done == [PAUSE, SCALE, RESUME]
    told = rows(Path(f"{prefix}_changes.csv"))
    assert list(told[0]) == [column.name for column in CHANGES_COLUMNS]
    assert [(row["number"], row["action"], row["replica"], row["detail"], row["error"]) for row in told] == [
        ("1", "pause", "web-1", "PAUSE", ""),
        ("2", "scale", "", "", "no room"),
        ("1", "resume", "web-1", "RESUME", ""),
    ]
    assert [float(row["due_at_unix_s"]) - began for row in told[:2]] == pytest.approx([2.0, 3.0])


def test_a_spike_begins_when_it_is_due_and_a_drain_is_ended_with_the_load(tmp_path: Path) -> None:
    prefix, deployment = tmp_path / "round-1" / "load", Changed()
    changes = [Change(1.0, SPIKE, seconds=1.0, times=3.0), Change(1.5, DRAIN, seconds=60.0)]
    schedule = Schedule(changes, prefix, 2.0, deployment)
    began = time.time() - 9
    write_run(tmp_path, "load", [], started_at_unix_s=began, ended_at_unix_s=None)
    assert schedule.make_due() == "spike over: the rate of before"
    schedule.close()
    assert deployment.done == [DRAIN, DRAIN_OVER]
    told = rows(Path(f"{prefix}_changes.csv"))
    assert [(row["number"], row["action"]) for row in told] == [
        ("1", "spike"),
        ("2", "drain"),
        ("1", "spike over"),
        ("2", "drain over"),
    ]
    assert [float(told[place]["began_at_unix_s"]) - began for place in (0, 2)] == pytest.approx([3.0, 4.0])


def test_one_that_lasts_ends_before_what_begins_at_that_moment(tmp_path: Path) -> None:
    deployment = Changed()
    changes = [Change(1.0, PAUSE, seconds=1.0), Change(2.0, PAUSE, seconds=1.0), Change(3.0, KILL)]
    schedule = Schedule(changes, tmp_path / "round-1" / "load", 0.0, deployment)
    write_run(tmp_path, "load", [], started_at_unix_s=time.time() - 5, ended_at_unix_s=None)
    schedule.make_due()
    schedule.close()
    assert deployment.done == [PAUSE, RESUME, PAUSE, RESUME, KILL]


class Paused:
    """A container that is paused, or is not."""

    name = "web"

    def __init__(self, status: str) -> None:
        self.status = status

    def reload(self) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "action", "expected"),
    [
        ("paused", KILL, "web is paused; resume it first"),
        ("paused", STOP, "web is paused; resume it first"),
        ("paused", PAUSE, "web is paused already"),
        ("running", RESUME, "web is not paused"),
    ],
)
def test_what_is_paused_has_to_go_on_first(status: str, action: str, expected: str) -> None:
    with pytest.raises(DeploymentError, match=f"^{expected}$"):
        change_container(Change(0.0, action), [Paused(status)])


def test_the_record_is_read_again_as_its_time_begins_to_count_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, now = Changed(), time.time()
    schedule = Schedule([Change(1.0, KILL)], tmp_path / "round-1" / "load", 2.0, deployment)

    def make_due(at_s: float, *, began_s: float) -> str | None:
        write_run(tmp_path, "load", [], started_at_unix_s=now + began_s, ended_at_unix_s=None)
        monkeypatch.setattr("infra.experiment.changes.unix_s", lambda: now + at_s)
        return schedule.make_due()

    assert make_due(2.9, began_s=0) is None
    assert make_due(3.1, began_s=2) is None
    assert not deployment.done
    assert make_due(5.1, began_s=2) == "kill: KILL"
    schedule.close()


class Node:
    """The node of an engine in a swarm, with these services; ``labels`` are those of the swarm."""

    def __init__(self, labels: dict[str, str], services: Sequence[dict[str, str]], nodes: int = 1) -> None:
        self.attrs: dict[str, Any] = {"Spec": {"Availability": "active", "Role": "manager"}}
        others = [SimpleNamespace(name="web", attrs={"Spec": {"Labels": labels}}) for labels in services]
        swarm = SimpleNamespace(attrs={"Spec": {"Labels": labels}}, reload=lambda: None)
        listed = SimpleNamespace(list=lambda: [self] * nodes, get=lambda _: self)
        client = SimpleNamespace(swarm=swarm, nodes=listed, services=SimpleNamespace(list=lambda: others))
        state = {"LocalNodeState": "active", "ControlAvailable": True, "NodeID": "n"}
        self.engine: Any = SimpleNamespace(client=client, swarm=lambda: state)

    def update(self, spec: dict[str, Any]) -> None:
        self.attrs = {"Spec": spec}


def test_a_node_is_drained_in_a_swarm_that_is_fourfolds_alone() -> None:
    own = labels("swarm")
    node = Node(own, [own])
    assert set_availability(node.engine, DRAINED) == "docker node update --availability drain"
    assert node.attrs["Spec"] == {"Availability": "drain", "Role": "manager"}
    set_availability(node.engine, ACTIVE)
    assert node.attrs["Spec"]["Availability"] == "active"
    for foreign, expected in (
        (Node({}, [own]), "in a swarm that Fourfold did not make"),
        (Node(own, [own, {}]), "holds what it did not make (service web), which a drain would end"),
        (Node(own, [own], nodes=2), "(2 nodes)"),
    ):
        with pytest.raises(DeploymentError, match=re.escape(expected)):
            set_availability(foreign.engine, DRAINED)
        assert foreign.attrs["Spec"]["Availability"] == "active"


def test_what_this_engine_can_not_do_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Node({}, []).engine
    engine.cpu_count = 2
    monkeypatch.setattr(changes, "connect", lambda: engine)
    drain = Change(1.0, DRAIN, seconds=1.0)
    assert "Fourfold did not make" in str(why_not_here("swarm-1", [drain]))
    assert why_not_here("docker", [Change(1.0, CPU, cpus=2.0)]) is None
    assert why_not_here("docker", [Change(1.0, CPU, cpus=2.5)]) == (
        "the plan has cpu of 2.5 cores, and the engine's machine has 2"
    )
    engine.swarm = lambda: {"LocalNodeState": "inactive"}
    assert why_not_here("swarm-1", [drain]) is None


@pytest.fixture
def child() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def test_a_process_is_halted_goes_on_and_is_ended(child: psutil.Process) -> None:
    assert change_process(Change(0.0, PAUSE), child) == Made("host", f"SIGSTOP to process {child.pid}")
    assert until_true(lambda: child.status() == psutil.STATUS_STOPPED, 10)
    change_process(Change(0.0, RESUME), child)
    assert until_true(lambda: child.status() != psutil.STATUS_STOPPED, 10)
    change_process(Change(0.0, STOP), child)
    assert until_true(lambda: child.status() == psutil.STATUS_ZOMBIE, 10)


@pytest.mark.engine
def test_a_container_that_is_killed_is_started_again_and_one_that_is_stopped_is_not(
    engine: Engine, service_image: str
) -> None:
    container: Any = engine.client.containers.run(
        service_image, ["sleep", "600"], init=True, detach=True, restart_policy=RESTART, cap_drop=["ALL"], user="1000"
    )

    def restarts() -> int:
        container.reload()
        return int(container.attrs["RestartCount"])

    def status() -> str:
        container.reload()
        return str(container.status)

    try:
        made = change_container(Change(0.0, KILL, replica=1), [container])
        assert made == Made(container.name, "SIGKILL to all its processes")
        assert until_true(lambda: restarts() == 1 and status() == "running", 30)
        change_container(Change(0.0, PAUSE, seconds=1.0), [container])
        assert status() == "paused"
        for action, reason in ((KILL, "is paused; resume it first"), (STOP, "is paused; resume it first")):
            with pytest.raises(DeploymentError, match=f"{container.name} {reason}"):
                change_container(Change(0.0, action), [container])
        change_container(Change(0.0, RESUME), [container])
        assert status() == "running"
        for cpus in (0.5, 1.0):
            assert change_container(Change(0.0, CPU, cpus=cpus), [container]).replica == ""
            container.reload()
            assert limits_of(container).cpus == cpus
        with pytest.raises(DeploymentError, match="there is no replica 2, only 1"):
            change_container(Change(0.0, KILL, replica=2), [container])
        change_container(Change(0.0, STOP), [container])
        assert status() == "exited"
    finally:
        container.remove(force=True)


def test_a_spike_is_sent_and_a_service_that_a_plan_kills_is_measured_until_the_end_of_the_load(tmp_path: Path) -> None:
    service = tmp_path / "service.toml"
    app = ROOT / "tests" / "apps" / "small_app.py"
    service.write_text(f'command = "python {app}"\nport_variable = "PORT"\n[metrics]\nvariable = ""\n')
    options = ["--service", str(service), "--port", f"host={free_port()}", "--results", str(tmp_path / "results")]
    changes = f'changes=[{SPIKED}, {{at_s=4, action="kill"}}]'
    settings = ["rounds=1", "seconds=9", "warm_up_s=0", "rate=20", "arrivals=constant", changes]
    said = said_by(infra("run", *options, "--only", "host", "--set", *settings))
    assert "Host process, round 1 of 1: spike: 3 times the rate" in said
    assert "Host process, round 1 of 1: kill: SIGKILL to process" in said
    (folder,) = (tmp_path / "results").glob("*/host/round-1")
    spike, over, change = rows(folder / "load_changes.csv")
    assert [own["action"] for own in (spike, over, change)] == ["spike", "spike over", "kill"]
    at = float(change["ended_at_unix_s"])
    requests = rows(folder / "load_requests.csv")
    begin, end = (float(own["began_at_unix_s"]) for own in (spike, over))
    in_spike = [row for row in requests if begin <= float(row["started_at_unix_s"]) < end]
    assert 80 < len(in_spike) < 132  # 120 are due, without a spike 40
    before = [row for row in requests if float(row["started_at_unix_s"]) < float(change["began_at_unix_s"]) - 0.5]
    after = [row for row in requests if float(row["started_at_unix_s"]) > at + 0.5]
    assert before
    assert after
    assert not any(row["error"] for row in before)
    assert all("refused" in row["error"] for row in after)
