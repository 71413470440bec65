"""Finds the replicas of a target, again and again, as they come and go."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil
from _find_target import container_name, holders, is_one_off, target_behind, target_of, why_not_service
from _node_clocks import Offset
from _read_there import ProcessThere, place_in
from _replicas import NoReplicas, Replica, Target, named_target
from _sockets import is_service, listener_with_id, program_name

from runfiles.events import AUTO, CONTAINER, PROCESS, SWARM_SERVICE

from _read_cgroup import CgroupReader
from _read_docker import READ_FAILURES, Engine, explained
from _read_process import ProcessReader, process_reader


class Finder:
    """Finds the replicas behind a target.

    ``target`` is known from the start, except for ``auto``: it is then None until it is found.

    Args:
        asked: the value of ``--replicas``, not ``none``.
        host: the URL that the load goes to, for ``auto``.
        said: what the service says of itself now, at its path ``ready``: ``replica``, the name by which it answers, and
            ``pid``. A process that does not have this ID is not taken for the service. If it tells no ID, a process
            that is named and serves the loaded address is taken for it. None: it has no path for that, so it tells
            none.
        other_engines: URLs of the Docker engines of a swarm's other nodes. Only they know the counters of the replicas
            there.

    Raises:
        NoReplicas: ``asked`` is no target. Nobody checks the web UI's field before.
    """

    def __init__(
        self,
        asked: str,
        host: str,
        said: Callable[[], Mapping[str, Any] | None] | None,
        other_engines: Sequence[str] = (),
    ) -> None:
        self._host = host
        self._ask = said or (lambda: None)
        self._service: Mapping[str, Any] | None = None
        self._has_asked = False
        self._engine: Engine | None = None
        self._others: dict[str, Engine | None] = dict.fromkeys(other_engines)
        self._there: ProcessThere | None = None
        self._root: psutil.Process | None = None
        self._process: CgroupReader | ProcessReader | None = None
        self._name: str | None = None
        self._doubt: str | None = None
        self._is_auto = asked == AUTO
        self.target: Target | None = None if self._is_auto else named_target(asked)

    def explain_unsampled(self, names: Sequence[str]) -> str:
        """Who answers by these names, and which ``--replicas`` samples them, as the second half of a sentence."""
        found: dict[str, Target] = {}
        where = "the Docker engine knows nobody"
        try:
            found = self._containers_named(names)
        except READ_FAILURES as error:
            where = f"no Docker engine tells who that is ({explained(error)}), and no process is known"
        said = self._said()
        process = listener_with_id(said.get("pid")) if said.get("replica") in names else None
        if process is not None:
            found.setdefault(said["replica"], Target(PROCESS, str(process.pid)))
        options = " or ".join(f"--replicas {target}" for target in sorted(set(map(str, found.values()))))
        unknown = [name for name in names if name not in found]
        parts = [f"use {options}"] if found else []
        parts += [f"{where} by the name {', '.join(unknown)}"] if unknown else []
        return "; ".join(parts)

    def replicas(self) -> list[Replica]:
        """The replicas that run now.

        Raises:
            NoReplicas: the target is not there.
            docker.errors.DockerException and others of ``READ_FAILURES``: the engine does not answer.
        """
        self._has_asked = False
        target = self._current_target()
        if target.kind == PROCESS and "@" in target.name:
            self._there = self._there or ProcessThere(*place_in(target), self._said)
            return [self._there.replica()]
        if target.kind == PROCESS:
            return [self._process_as_replica(int(target.name))]
        if target.kind == SWARM_SERVICE:
            return self._tasks(self._connect(), target.name)
        return self._containers(self._connect(), target)

    def clocks(self) -> dict[str, Offset]:
        """That of a process of another machine. Engines tell times by which only counters of their own node are
        compared."""
        return {} if self._there is None else self._there.clocks()

    def close(self) -> None:
        """Close all files and connections."""
        for opened in (self._engine, self._process, self._there, *self._others.values()):
            if opened is not None:
                opened.close()

    def _current_target(self) -> Target:
        """The target. With ``auto`` it is looked for again once the process that served has ended."""
        has_ended = self._is_auto and self._root is not None and not _runs(self._root)
        if has_ended:  # it was restarted, or another one serves now
            self._service = None
        if self.target is None or has_ended:
            self.target = target_behind(self._host, self._connect, self._said)
            if self._process is not None:
                self._process.close()
            self._root = self._process = self._name = None
        return self.target

    def _containers_named(self, names: Sequence[str]) -> dict[str, Target]:
        """What ``--replicas`` takes for each of these names that a container of the engine has."""
        engine = self._connect()
        is_manager = engine.is_manager()
        found: dict[str, Target] = {}
        for container in engine.client.api.containers():
            own = {container_name(container), container["Id"][:12]}
            if not own & set(names):
                own |= set(engine.names_of(container["Id"]))
            found |= dict.fromkeys(own & set(names), target_of(container, is_manager))
        return found

    def _containers(self, engine: Engine, target: Target) -> list[Replica]:
        """The container of this name, or the containers of this Compose service."""
        if target.kind == CONTAINER:
            filters: dict[str, Any] = {"name": target.name}
        else:
            project, service = target.name.split("/")
            filters = {
                "label": [
                    f"com.docker.compose.project={project}",
                    f"com.docker.compose.service={service}",
                ]
            }
        found = {container_name(listed): listed for listed in engine.client.api.containers(filters=filters)}
        if target.kind == CONTAINER:  # the API's name filter also matches parts of names
            found = {name: listed for name, listed in found.items() if name == target.name}
        elif not all(map(is_one_off, found.values())):  # `docker compose run` beside `up` does something else
            found = {name: listed for name, listed in found.items() if not is_one_off(listed)}
        if not found:
            raise NoReplicas(f"no running container is {target}")
        return [engine.container(name, listed["Id"], state=listed["State"]) for name, listed in sorted(found.items())]

    def _process_as_replica(self, pid: int) -> Replica:
        try:
            self._root = self._root or psutil.Process(pid)
            self._process = self._process or process_reader(self._root)
        except psutil.NoSuchProcess:
            raise NoReplicas(f"no process has the ID {pid}") from None
        if not _runs(self._root):
            self._service = None  # whoever answers now is asked again
            raise NoReplicas(f"process {pid} has ended")
        reader = self._process
        if self._name is None:
            said, serving = self._said(), holders(self._host)
            is_it = is_service(self._root, serving, said.get("pid"))
            is_all_that_is_known = "pid" not in said and not self._is_auto and self._root in serving
            self._name = str(said.get("replica") or f"process {pid}") if is_it else program_name(self._root)
            self._doubt = None if is_it or is_all_that_is_known else why_not_service(self._root, said)
        return Replica(
            self._name, str(pid), platform.node(), reader.read, sources=lambda: reader.sources, doubt=self._doubt
        )

    def _said(self) -> Mapping[str, Any]:
        """What the service says of itself. If it has not answered, the next look asks it again."""
        if self._service is None and not self._has_asked:
            self._service, self._has_asked = self._ask(), True
        return self._service or {}

    def _connect(self) -> Engine:
        if self._engine is None:
            self._engine = Engine()
        return self._engine

    def _engines_by_node(self, engine: Engine) -> tuple[dict[str, Engine], list[str]]:
        """The engines that answer, by the node that they are, and what is wrong with the others."""
        found, wrong = {engine.node_id: engine}, []
        for url in self._others:
            try:
                other = self._others[url] = self._others[url] or Engine(url)
                found[other.node_id] = other
            except READ_FAILURES as error:
                wrong.append(f"{url} does not answer ({explained(error)})")
        return found, wrong

    def _tasks(self, engine: Engine, service: str) -> list[Replica]:
        """The running tasks of the service, named ``service.slot``. Those on nodes without an engine can't be read."""
        engines, wrong = self._engines_by_node(engine)
        tasks = engine.client.api.tasks(filters={"service": service, "desired-state": "running"})
        running = [task for task in tasks if task["Status"]["State"] == "running"]
        replicas = []
        names: dict[str, str] = {}
        if any(task["NodeID"] not in engines for task in running):
            names = {node["ID"]: node["Description"]["Hostname"] for node in engine.client.api.nodes()}
        for task in sorted(running, key=lambda task: task.get("Slot", 0)):
            name = f"{service}.{task.get('Slot') or task['NodeID']}"
            id = task["Status"]["ContainerStatus"]["ContainerID"]
            if task["NodeID"] in engines:
                replicas.append(engines[task["NodeID"]].container(name, id, task["ID"], task["Status"]["State"]))
            else:
                reason = "; ".join(
                    ["runs on another node, whose engine alone can tell its counters: name it (--docker-host)", *wrong]
                )
                node = names.get(task["NodeID"], task["NodeID"])
                replicas.append(Replica(name, id[:12], node, None, reason, task["ID"]))
        if not replicas:
            raise NoReplicas(f"no running task belongs to swarm:{service}")
        return replicas


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
