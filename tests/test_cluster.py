"""An experiment on a cluster before anything starts: its plan, the nodes of the swarm, and where replicas may run."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.cluster import monitor_stack, send
from infra.cluster.plan import on_cluster, refuse_keys_of_clusters
from infra.cluster.ready import why_no_cluster, why_no_images_there
from infra.cluster.record import cluster_of
from infra.deployments.docker_engine import Engine
from infra.deployments.service import Service
from infra.deployments.settings import Settings
from infra.deployments.stack import _place
from infra.deployments.swarm_mode import leave_own_swarm, make_swarm
from infra.deployments.swarm_nodes import Placement, nodes_of, placement_of
from infra.errors import PlanError
from infra.experiment.load import Load, ServiceGone, Target
from infra.experiment.plan import Plan, plan_of, read_plan
from runfiles.records import Limits

SENDS = {"fourfold": "load"}


def node(name: str, *, state: str = "ready", availability: str = "active", **labels: str) -> dict[str, Any]:
    """A node as Docker's API tells it; n1 is a manager that does not know its address as a node."""
    said: dict[str, Any] = {
        "ID": f"id-{name}",
        "Spec": {"Role": "worker", "Availability": availability, "Labels": labels},
        "Description": {
            "Hostname": name,
            "Resources": {"NanoCPUs": 2 * 10**9, "MemoryBytes": 4 << 30},
            "Engine": {"EngineVersion": "26.1"},
        },
        "Status": {"State": state, "Addr": f"10.77.0.{name[1:]}"},
    }
    if name == "n1":
        said["Status"]["Addr"] = "0.0.0.0"
        said["ManagerStatus"] = {"Addr": "10.77.0.1:2377"}
    return said


def manager(*nodes: dict[str, Any], is_remote: bool = False, own: str = "n1") -> Engine:
    """The engine of a node that manages a swarm of these nodes; without nodes it manages none."""
    listed = [SimpleNamespace(attrs=each) for each in nodes]
    client = SimpleNamespace(
        info=lambda: {"Swarm": {"ControlAvailable": bool(nodes), "NodeID": f"id-{own}"}},
        nodes=SimpleNamespace(list=lambda: listed),
    )
    about = dict.fromkeys(("cpu_count", "memory_bytes", "architecture", "operating_system"))
    return Engine(cast("Any", client), "tcp://n1:2375", "26.1", own, "6.1", is_remote, **about)


THREE = (node("n1"), node("n2"), node("n3", **SENDS))


@pytest.mark.parametrize(
    ("nodes", "load_nodes", "reason"),
    [
        ((), (), "this engine manages none; make one (docker swarm init --advertise-addr ADDRESS)"),
        ((node("n1"),), (), "this one has one; print the command that joins another (docker swarm join-token worker)"),
        ((node("n1"), node("n2", state="down")), (), "node n2 is down (docker node ls); start it, or remove it"),
        ((node("n1"), node("n2")), (), "choose one (docker node update --label-add fourfold=load n2)"),
        ((node("n1"), node("n2")), ("n2",), "node n2 is in load_nodes and has no label for it; docker node update"),
        (THREE, ("n9",), "load_nodes names n9, and the swarm has no node of that name; it has n1, n2, n3"),
        ((node("n1", **SENDS), node("n2", availability="drain")), ("n1",), "no node is left to run the service"),
    ],
)
def test_a_swarm_that_is_not_ready_is_told_with_what_to_type(
    nodes: tuple[dict[str, Any], ...], load_nodes: tuple[str, ...], reason: str
) -> None:
    said = why_no_cluster(manager(*nodes), Settings(load_nodes=load_nodes))
    assert reason in str(said)
    assert "\n" not in str(said)


def test_a_swarm_that_is_ready_has_no_reason() -> None:
    assert why_no_cluster(manager(*THREE), Settings(load_nodes=("n3",))) is None
    assert [each.address for each in nodes_of(manager(*THREE))] == ["10.77.0.1", "10.77.0.2", "10.77.0.3"]


@pytest.mark.parametrize(
    ("placement", "load_nodes", "expected"),
    [
        (None, (), Placement()),
        ("spread", (), Placement((), 1)),
        ("spread", ("n3",), Placement(("node.id != id-n3",), 2)),
        ("one-node", (), Placement(("node.id == id-n1",))),
        ("one-node", ("n1",), Placement(("node.id == id-n2",))),
        (None, ("n1", "n3"), Placement(("node.id != id-n1", "node.id != id-n3"))),
    ],
)
def test_replicas_are_placed_as_the_plan_says(
    placement: str | None, load_nodes: tuple[str, ...], expected: Placement
) -> None:
    settings = Settings(placement=placement, load_nodes=load_nodes)
    assert placement_of(manager(*THREE), settings, 3) == expected


def test_one_node_is_the_engines_own() -> None:
    own = manager(*THREE, own="n2")
    assert placement_of(own, Settings(placement="one-node"), 3) == Placement(("node.id == id-n2",))


def test_the_load_goes_to_the_entry_node_from_as_many_workers_as_planned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(send, "connect", lambda: manager(*THREE))
    monkeypatch.setattr(monitor_stack, "agents", lambda *_: nullcontext())

    def run_on_swarm(*said: Any) -> int:
        sent.append(said)
        return 0

    monkeypatch.setattr(send, "run_on_swarm", run_on_swarm)
    service = Service("swarm:web", lambda _: [], None, Limits(), gone=lambda: "it was removed", last_words=str)
    load = Load("keep_alive", tmp_path / "load", ["--users", "8"])
    settings = Settings(ports={"swarm": 8089}, load_nodes=("n1",))
    assert send.FromSwarm(settings, 2, "load:1")(load, [Target("swarm-3", load.prefix, service)]) == 0
    ((_, place, said, _),) = sent
    assert (place.workers, place.image, place.sampled) == (2, "load:1", "web")
    assert said.arguments == ["--host", "http://10.77.0.2:8089", "--users", "8"]
    monkeypatch.setattr(send, "GONE_EVERY_S", 0.0)
    with pytest.raises(ServiceGone, match="it was removed"):
        said.meanwhile()


def test_a_users_stack_keeps_its_own_constraints() -> None:
    service: dict[str, Any] = {"deploy": {"placement": {"constraints": ["node.labels.gpu == yes"]}}}
    _place(service, Placement(("node.id != id-n3",), 2))
    assert service["deploy"]["placement"] == {
        "constraints": ["node.labels.gpu == yes", "node.id != id-n3"],
        "max_replicas_per_node": 2,
    }


@pytest.mark.parametrize(
    ("reach", "is_remote", "is_on_cluster", "entry"),
    [
        (None, False, False, "n1"),
        ("10.77.0.2:8081", True, False, "n2"),
        ("127.0.0.1:11080", True, False, None),
        ("127.0.0.1:11080", False, False, None),
        ("balancer.example:80", True, False, None),
        ("127.0.0.1:11080", True, True, "n1"),
    ],
)
def test_the_entry_node_is_recorded_only_where_it_is_known(
    reach: str | None, is_remote: bool, is_on_cluster: bool, entry: str | None
) -> None:
    settings = Settings(reach={} if reach is None else {"swarm": reach})
    plan = Plan(deployments=("swarm-3",))
    found = cluster_of(manager(*THREE, is_remote=is_remote), plan, settings, is_on_cluster=is_on_cluster)
    assert found is not None
    assert found.entry_node == entry
    assert [each.name for each in found.nodes] == ["n1", "n2", "n3"]
    assert cluster_of(manager(node("n1")), plan, settings, is_on_cluster=False) is None


SWARM = Plan(deployments=("swarm-3",))


def test_a_plan_on_a_cluster_is_measured_in_turns_and_is_recorded() -> None:
    plan = on_cluster(read_plan(None, ["rate=5", "placement=spread", "workers=2", "load_nodes=n3"], "swarm-3"))
    assert (plan.layout, plan.workers, plan.load_nodes, plan.placement) == ("turns", 2, ("n3",), "spread")
    assert plan_of(plan.record, "the record") == plan
    assert on_cluster(SWARM).workers == 1


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan(), "--cluster measures what runs on a swarm, and host does not; choose swarm-N (--only swarm-3)"),
        (replace(SWARM, rates=(1.0, 2.0)), "leave rates or --cluster out"),
        (replace(SWARM, processes=2), "set workers=N and leave processes out"),
        (replace(SWARM, users=2, workers=3), "workers = 3 is more than users = 2"),
        (replace(SWARM, generator_cpus="0"), "leave generator_cpus out"),
    ],
)
def test_a_plan_that_no_cluster_can_measure_is_refused(plan: Plan, reason: str) -> None:
    with pytest.raises(PlanError) as refused:
        on_cluster(plan)
    assert reason in str(refused.value)


def test_keys_of_clusters_are_refused_without_one() -> None:
    with pytest.raises(PlanError, match="load_nodes has no effect without --cluster"):
        refuse_keys_of_clusters(Plan(load_nodes=("n3",)))
    refuse_keys_of_clusters(Plan(placement="spread"))


@pytest.mark.engine
def test_each_node_is_asked_for_the_image_and_nothing_is_left(engine: Engine, service_image: str) -> None:
    if engine.swarm().get("LocalNodeState") != "inactive":
        pytest.skip("this engine is in a swarm")
    make_swarm(engine)
    try:
        (own,) = nodes_of(engine)
        assert own.is_own
        assert own.takes_tasks
        assert why_no_images_there(engine, service_image) is None
        said = str(why_no_images_there(engine, service_image, "127.0.0.1:1/no-such-image"))
        assert said.startswith(f"image 127.0.0.1:1/no-such-image is not on {own.name} (No such image")
        assert "docker save 127.0.0.1:1/no-such-image | ssh" in said
        assert engine.client.services.list() == []
    finally:
        leave_own_swarm(engine)
