"""Agents in place of Docker sockets: what they tell, to whom, and what becomes of a run if one is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import _tasks_file
import gevent
import pytest
import yaml
from _ask_agents import AgentFailure, Agents
from _find_agents import AgentFinder
from _node_answer import PATH, NodeAnswer
from _node_clocks import Offset, better, offset
from _node_containers import NodeContainers, container_of, oldest_processes
from _tasks_file import TasksFile
from conftest import ROOT, free_port, is_open

from infra.deployments.docker_engine import Engine
from infra.deployments.tasks_feed import tasks_of
from infra.deployments.waiting import until_true
from runfiles.events import ENDED, ENGINE_SILENT, FOUND, NOT_SAMPLED, SAMPLED_AGAIN, STARTED
from runfiles.tasks import Task, TasksLine

import _monitor
from _monitor import Monitor
from _read_cgroup import HERE, VERSIONS, Roots, container_cgroup

DATA = Path(__file__).parent / "data"
TOKEN = "a-token-of-twenty-characters"  # noqa: S105  no secret
ID = "0" * 64
UNKNOWN = "f" * 64
AHEAD_S = 100.0

AGENT_AHEAD = f"""
import runpy, sys, time
of_the_machine = time.time
time.time = lambda: of_the_machine() + {AHEAD_S}
sys.path.insert(0, "locustfiles")
runpy.run_path("locustfiles/_agent.py", run_name="__main__")
"""
"""An agent on a node whose clock is ahead."""


IMPATIENT = """
import sys
sys.path.insert(0, "locustfiles")
import _agent
_agent.CONNECTION_S = 1.0
_agent.main()
"""
"""One that gives a connection less time."""


def made_node(folder: Path, version: int, *, network_of_the_node: bool = False) -> Roots:
    """The recorded files of a replica as an agent in a container sees them: its group is told relative to the agent's
    own, and several of its processes are seen, of which number 7 is the oldest."""
    data = DATA / f"cgroup_v{version}"
    groups, proc = folder / "cgroup", folder / "proc"
    *_, own_path = (data / "cgroup").read_text().splitlines()[-1].split(":", 2)
    relative = (data / "cgroup").read_text().replace(own_path, f"/../{Path(own_path).name}")
    for pid, started in ((1, 0), (7, 50), (5, 90)):
        (proc / str(pid) / "net").mkdir(parents=True)
        (proc / str(pid) / "stat").write_text(f"{pid} (a) name) S {' '.join('0' * 18)} {started} 0\n")
        (proc / str(pid) / "cgroup").write_text("0::/init.scope\n" if pid == 1 else relative)
        if pid != 1 and network_of_the_node:
            (proc / str(pid) / "net" / "dev").hardlink_to(proc / "1" / "net" / "dev")
        else:
            shutil.copy(data / "net_dev", proc / str(pid) / "net" / "dev")
        shutil.copy(data / "net_snmp", proc / str(pid) / "net" / "snmp")
    (proc / "meminfo").write_text("MemTotal:        4096000 kB\nMemFree: 1 kB\n")
    for place in (*VERSIONS[version].files.values(), "memory/memory.limit_in_bytes"):
        controller, _, name = place.rpartition("/")
        into = groups / controller / own_path.lstrip("/")
        if (data / name).exists():
            into.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / name, into)
    if version == 2:
        (groups / "cgroup.controllers").touch()
        (groups / own_path.lstrip("/") / "memory.max").write_text("2147483648\n")
    else:
        (groups / "memory" / own_path.lstrip("/") / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    return Roots(proc, groups)


def test_an_agent_reads_what_the_monitor_reads(tmp_path: Path) -> None:
    for version, limit in ((1, 4096000 * 1024), (2, 2147483648)):
        roots = made_node(tmp_path / str(version), version)
        assert oldest_processes(roots.proc) == {ID: 7}, "the others come and go"
        containers = NodeContainers(roots)
        with closing(containers):
            readings = containers.read([ID, UNKNOWN])
            *_, path = (DATA / f"cgroup_v{version}" / "cgroup").read_text().splitlines()[-1].split(":", 2)
            with closing(container_cgroup(7, ID, limit, has_network=True, roots=roots, path=path)) as reader:
                by_monitor = reader.read()
            by_agent = readings[ID].counters
            assert by_agent is not None
            assert by_monitor is not None
            assert by_agent.networks
            assert replace(by_agent, read_at_unix_s=0) == replace(by_monitor, read_at_unix_s=0)
            assert readings[ID].sources == reader.sources
            assert readings[UNKNOWN].is_gone
            answer = NodeAnswer("n1", "id-1", 1.5, 2.5, readings)
            assert NodeAnswer.from_json(answer.to_json()) == answer
            shutil.rmtree(roots.proc / "7")
            again = containers.read([ID])[ID].counters
            assert again is not None, "another process of the container is left"
            assert replace(again, read_at_unix_s=0) == replace(by_agent, read_at_unix_s=0)


def test_a_process_belongs_to_the_innermost_container() -> None:
    outer, inner = "a" * 64, "b" * 64
    assert container_of(f"4:memory:/docker/{outer}/docker/{inner}\n0::/docker/{outer}\n") == inner
    assert container_of(f"0::/../docker-{inner}.scope\n") == inner
    assert container_of("0::/init.scope\n") is None


def test_what_an_agent_can_not_read_is_missing_with_its_reason(tmp_path: Path) -> None:
    with closing(NodeContainers(made_node(tmp_path / "shared", 2, network_of_the_node=True))) as containers:
        reading = containers.read([ID])[ID]
        assert reading.counters is not None
        assert reading.counters.networks is None, "it is the node's"
        assert "network" not in reading.sources
    roots = made_node(tmp_path / "hidden", 2)
    shutil.rmtree(roots.proc / "1")
    shutil.rmtree(roots.proc / "7")
    shutil.rmtree(roots.proc / "5")
    with closing(NodeContainers(roots)) as containers:
        reading = containers.read([ID])[ID]
        assert (reading.is_gone, reading.missing) == (False, "the node hides its processes (hidepid of /proc)")


@contextmanager
def agent_of(roots: Roots, folder: Path, port: int, program: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "token").write_text(TOKEN + "\n")
    own = {"NODE_NAME": "n1", "NODE_ID": "id-1", "PORT": str(port), "TOKEN_FILE": str(folder / "token")}
    files = {"PROC": str(roots.proc), "CGROUP": str(roots.cgroup)}
    process = subprocess.Popen([sys.executable, *program], env=os.environ | own | files, cwd=ROOT)
    try:
        assert until_true(lambda: is_open("127.0.0.1", port), 20)
        yield process
    finally:
        process.terminate()
        assert process.wait(10) == 0


def asked(port: int, path: str = PATH, method: str = "POST", token: str | None = TOKEN, body: str = "{}") -> Any:
    """The status and the body of the answer."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders()) | {"Date": None}


def test_nothing_is_told_without_the_token_and_slow_clients_keep_nobody_waiting(tmp_path: Path) -> None:
    port, question = free_port(), json.dumps({"containers": [ID]})
    with agent_of(made_node(tmp_path, 2), tmp_path, port, ["-c", IMPATIENT]):
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        for client in slow:
            client.sendall(b"POST /counters HTTP/1.1\r\nAuth")
        refused = [
            asked(port, path, method, token, question)
            for path, method in ((PATH, "POST"), ("/", "GET"), ("/nothing", "PUT"))
            for token in (None, "", TOKEN[:-1], TOKEN + "x", "\xff" * 20)
        ]
        assert {status for status, *_ in refused} == {401}
        assert all(told == refused[0] for told in refused), "no refusal differs from another"
        status, answer, _ = asked(port, body=question)
        assert status == 200
        assert NodeAnswer.from_json(answer).readings[ID].counters is not None
        assert asked(port, "/")[0] == 404
        assert asked(port, method="GET")[0] == 405
        for wrong in ("", "{}", '{"containers": ["../../1"]}', '{"containers": 1}', "[" * 5000):
            assert asked(port, body=wrong)[0] == 400, wrong
        for client in slow:
            client.settimeout(10)
            assert client.recv(1) == b"", "it was not hung up on"
            client.close()


def task(slot: int, state: str = "running", container: str = ID, node: int = 1, why: str | None = None) -> Task:
    return Task(
        name=f"web.{slot}",
        task_id=f"task-{container[:2]}",
        container_id=container,
        node_id=f"id-{node}",
        node=f"n{node}",
        state=state,
        why=why,
    )


def tell(file: Path, *tasks: Task, end: str = "") -> None:
    with file.open("a") as out:
        out.write(TasksLine(at_unix_s=1.8e9, tasks=tasks).to_line() + end)


def test_an_agent_that_is_lost_is_a_gap_with_its_name_and_its_clock_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIND_EVERY_S", "FIRST_PAUSE_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(_monitor, name, 0.1)
    roots, port, tasks = made_node(tmp_path, 2), free_port(), tmp_path / "tasks"
    tell(tasks, task(1))
    samples: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    finder = AgentFinder("swarm:web", Agents(f"localhost:{port}", TOKEN), TasksFile(tasks))
    monitor = Monitor(finder, 0.05, samples.append, events.append)

    def until(condition: Callable[[], bool]) -> None:
        with gevent.Timeout(20):
            while not condition():
                gevent.sleep(0.02)

    with agent_of(roots, tmp_path, port, ["-c", AGENT_AHEAD]):
        monitor.start()
        until(lambda: len(samples) > 3)
        assert all(abs(row["read_at_unix_s"] - row["sampled_at_unix_s"]) < 1 for row in samples)
        clock = finder.clocks()["n1"]
        assert abs(clock.ahead_s - AHEAD_S) <= clock.uncertainty_s + 0.001
    until(lambda: len(events) == 2)
    stranger = Agents(f"127.0.0.1:{port}", TOKEN)
    stranger.look({("id-1", "n1"): [ID]})
    with pytest.raises(AgentFailure, match=r"n1 does not answer: 127\.0\.0\.1: nobody listens at its address"):
        stranger.read("id-1", ID)
    with agent_of(roots, tmp_path, port, ["locustfiles/_agent.py"]):
        until(lambda: len(events) == 3)
        assert abs(finder.clocks()["n1"].ahead_s) < 1, "its clock was set"
        monitor.stop()
    told = [(event["event"], event["replica"], event["node"], event["detail"]) for event in events]
    gap = told.pop(1)
    assert gap[:3] == (NOT_SAMPLED, "web.1", "n1")
    assert gap[3].startswith("the agent of node n1 does not answer: ")
    assert told == [(FOUND, "web.1", "n1", ""), (SAMPLED_AGAIN, "web.1", "n1", "")]


class NoNodes:
    """Agents that say of each container what a test has them say."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.read = lambda _, container: read(container)
        self.look = lambda _: None


def test_a_task_that_moves_is_a_replica_that_ends_and_another_that_starts(tmp_path: Path) -> None:
    tasks, gone = tmp_path / "tasks", SimpleNamespace(counters=None, is_gone=True, missing="no process of it is here")
    other = "1" * 64
    agents: Any = NoNodes(lambda _: gone)
    finder = AgentFinder("swarm:web", agents, TasksFile(tasks))
    events: list[dict[str, Any]] = []
    monitor = Monitor(finder, 0.05, lambda _: None, events.append)
    tell(tasks, task(1), replace(task(1), name="webs.1", task_id="of-another-service"))
    (replica,) = finder.replicas()
    assert replica.read is not None
    with pytest.raises(AgentFailure, match=r"n1 can't read web\.1: no process of it is here"):
        replica.read()
    assert finder.explain_unsampled(["web.1", "web.9"]) == (
        "web.1 could not be read by the agent of its node; no running task of swarm:web has the name web.9"
    )
    monitor._find(FOUND)
    tell(tasks, task(1, "shutdown", why="shutdown: node drained"), task(1, container=other, node=2))
    assert replica.read() is None, "the manager has ended it"
    assert not replica.is_anew(), "though it may be listed for a moment"
    monitor._end(monitor._seen[replica.id])
    monitor._find(STARTED)
    monitor.stop()
    told = [(event["event"], event["replica_id"], event["node"], event["detail"]) for event in events]
    assert told == [
        (FOUND, ID[:12], "n1", ""),
        (ENDED, ID[:12], "n1", "shutdown: node drained"),
        (STARTED, other[:12], "n2", ""),
    ]


def test_the_last_whole_line_of_tasks_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tasks"
    file = TasksFile(path)
    tell(path, task(1))
    line = TasksLine(at_unix_s=1.8e9, tasks=(task(1), task(2))).to_line()
    with path.open("a") as out:
        out.write(line[:50])
    assert [each.name for each in file.tasks("web")] == ["web.1"]
    with path.open("a") as out:
        out.write(line[50:] + '{"at_unix_s": 1.8e9}\n' + '{"at_unix_s": "no"}\n')
    assert file.tasks("web") == (task(1), task(2))
    monkeypatch.setattr(_tasks_file, "MOST_SILENT_S", 0.0)
    with pytest.raises(_tasks_file.TasksSilent, match=f"no new line in {path}"):
        file.tasks("web")
    events: list[dict[str, Any]] = []
    agents: Any = NoNodes(lambda _: None)
    Monitor(AgentFinder("swarm:web", agents, file), 1.0, lambda _: None, events.append)._find(FOUND)
    assert [event["event"] for event in events] == [ENGINE_SILENT]


def test_the_manager_tells_running_tasks_and_why_others_have_ended() -> None:
    def said(id: str, state: str, node: str, **status: Any) -> dict[str, Any]:
        container = {"ContainerStatus": {"ContainerID": ID, "ExitCode": status.pop("code", 0)}}
        return {"ID": id, "Slot": 1, "NodeID": node, "Status": {"State": state, **container, **status}}

    listed = [
        said("old", "shutdown", "a"),
        said("ended", "failed", "a", Err="task: non-zero exit (137)", code=137),
        said("drained", "shutdown", "a", Message="shutdown", code=143),
        said("now", "running", "b"),
        {"ID": "new", "Slot": 2, "Status": {"State": "pending"}},
    ]
    nodes = [{"ID": id, "Description": {"Hostname": f"host-{id}"}} for id in "ab"]
    client: Any = SimpleNamespace(api=SimpleNamespace(tasks=lambda filters: listed, nodes=lambda: nodes))
    told = tasks_of(client, "web", {}, {"ended", "drained"})
    assert [(each.task_id, each.name, each.node, each.state, each.why) for each in told] == [
        ("drained", "web.1", "host-a", "shutdown", "shutdown: shutdown, exit code 143"),
        ("ended", "web.1", "host-a", "failed", "failed: task: non-zero exit (137)"),
        ("now", "web.1", "host-b", "running", None),
    ]


def test_the_offset_of_a_clock_changes_only_if_it_must() -> None:
    first = offset(10.0, 110.02, 110.03, 10.05)
    assert (first.ahead_s, first.uncertainty_s) == pytest.approx((100.0, 0.02))
    assert better(None, first) == first
    assert better(first, Offset(100.03, 0.03)) == first, "it is less certain, and both can be true"
    assert better(first, Offset(100.01, 0.001)).ahead_s == 100.01
    assert better(first, Offset(100.06, 0.03)).ahead_s == 100.06, "both can't be true: the clock was set"


@pytest.mark.engine
def test_an_agent_reads_real_containers_as_the_monitor_does(engine: Engine, service_image: str, tmp_path: Path) -> None:
    if engine.is_remote:
        pytest.skip(f"the engine at {engine.endpoint} is not on this machine")
    port = free_port()
    made = engine.client.containers.run(service_image, ["sleep", "600"], detach=True, init=True, mem_limit=2**28)
    try:
        made.reload()
        pid = made.attrs["State"]["Pid"]
        with (
            agent_of(HERE, tmp_path, port, ["locustfiles/_agent.py"]),
            closing(container_cgroup(pid, made.id, 2**28, has_network=True)) as reader,
        ):
            agents = Agents(f"127.0.0.1:{port}", TOKEN)
            agents.look({("id-1", "n1"): [made.id]})
            before, told, after = reader.read(), agents.read("id-1", made.id), reader.read()
            assert before is not None
            assert told.counters is not None
            assert after is not None
            assert told.sources == reader.sources
            for column, value in told.counters.by_column.items():
                if column != "interfaces":
                    known = [before.by_column[column], after.by_column[column]]
                    assert min(known) <= value <= max(known), column
            made.kill(signal.SIGKILL)
            made.wait()
            assert until_true(lambda: agents.read("id-1", made.id).is_gone, 10)
    finally:
        made.remove(force=True, v=True)


def test_no_stack_file_opens_a_docker_socket_or_the_port_of_an_agent() -> None:
    files = sorted([*ROOT.glob("*.yml"), *ROOT.glob("services/*/*.yml")])
    assert {"docker-compose.yml", "stack.yml", "stack-load.yml", "stack-monitor.yml"} <= {file.name for file in files}
    for file in files:
        text = file.read_text()
        assert not [word for word in ("docker.sock", "DOCKER_HOST", "2375", "2376") if word in text], file
        for name, service in yaml.safe_load(text)["services"].items():
            sources = [
                mount["source"] for mount in service.get("volumes", ()) if isinstance(mount, dict) and "source" in mount
            ]
            assert not {"/", "/run", "/var", "/var/run"} & set(sources), f"{file.name}: {name}"
    stack = yaml.safe_load((ROOT / "stack-monitor.yml").read_text())
    assert stack["networks"]["agents"]["internal"] is True
    assert "attachable" not in stack["networks"]["agents"]
    assert stack["networks"]["agents"]["driver_opts"] == {"encrypted": "true"}
    (agent,) = stack["services"].values()
    assert "ports" not in agent
    assert agent["networks"] == ["agents"]
    assert agent["cap_drop"] == ["ALL"]
    assert agent["user"].partition(":")[0] not in ("0", "1000")
    assert all(mount["read_only"] for mount in agent["volumes"])
