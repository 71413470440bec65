"""Locust on the nodes of a swarm: its master and its workers are a stack (stack-load.yml), and its files come back.

``run_on_swarm`` is to a load from a swarm what ``infra.experiment.load.run_locust`` is to a load from this machine. Its
``Load`` is the same.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import docker
import yaml

from addresses import LOOPBACK
from infra.cluster import monitor_stack
from infra.cluster.load_files import GIVEN, copy_out, given_files, in_container
from infra.cluster.load_tasks import IMAGE, MASTER, STACK, START_S, WORKER, Tasks, started_master
from infra.cluster.web_ui import web_ui_at
from infra.deployments.compose_project import Model, run_docker, without_variables
from infra.deployments.docker_engine import API_FAILURES, FAILURES, Engine, connect
from infra.deployments.ownership import LABEL, is_ours, labels
from infra.deployments.swarm_stack import why_no_stacks
from infra.deployments.tasks_feed import task_lines
from infra.deployments.waiting import until_true
from infra.environment import for_docker
from infra.errors import DeploymentError, why
from infra.experiment.load import Load
from infra.interruption import uninterrupted
from infra.paths import INFRA, ROOT
from runfiles.events import NO_REPLICAS, SWARM_SERVICE
from runfiles.lines import tidy
from servicefile.service_file import ServiceFile

FILE = ROOT / "stack-load.yml"
NODES = "node.labels.fourfold == load"
RESULTS = "/results"
"""The master's volume."""

END_S = 60.0
"""A master that was told to end takes 10 s for its workers' last reports and up to 30 s for its files."""

SILENT_S = 30.0
"""An engine that does not answer for so long is gone."""

POLL_S = 0.5
LOGS_WITHIN_S = 20.0

TASKS_FILE = "/tmp/fourfold_tasks.jsonl"  # noqa: S108  in the master's container, which has a /tmp of its own


@dataclass(frozen=True)
class LoadPlace:
    """Where a load comes from.

    ``workers``: how many Locust workers. ``nodes``: the constraint of placement that their nodes meet. ``network``: an
    overlay network that exists already, and in which the service can be asked by its name; None: it is asked at a
    published port. ``image``: that of master and workers, which each of these nodes has or can pull.

    ``sampled``: the Swarm service whose replicas are sampled, by the agents on their nodes, which are deployed already
    (``monitor_stack``). None: no replica is sampled.
    """

    workers: int = 2
    nodes: str = NODES
    network: str | None = None
    image: str = IMAGE
    sampled: str | None = None


def run_on_swarm(
    engine: Engine,
    place: LoadPlace,
    load: Load,
    service: ServiceFile,
    say: Callable[[str], None] = lambda line: None,
    web_port: int | None = None,
) -> int:
    """Run one locustfile on the nodes of the engine's swarm. Returns the exit code of Locust's master.

    The master runs on the engine's own node. However the run ends, also by Ctrl-C or by an error of ``meanwhile``, the
    master is asked to end, its files are copied to the folder of ``load.prefix``, and the stack is removed with all
    that is in it. The files are not here before. Only ``PREFIX.log``, what the master says, grows while it runs;
    ``PREFIX_workers.log`` has what the workers said. Call this inside ``alone_on_engine``.

    Args:
        engine: a manager of a swarm.
        place: where the load comes from.
        load: ``arguments`` are Locust's, without those of master and workers, ``--csv``, ``--service``,
            ``--replicas`` and ``--processes``; with ``--users``, ``--spawn-rate`` and ``--run-time``. ``cpus`` is not
            used.
        service: what is asked, and with which texts.
        say: gets each line that the master logs, and what becomes of tasks.
        web_port: at which port of this machine's loopback Locust's web UI is, where people start loads and stop them;
            the run ends by Ctrl-C then. None: headless.

    Raises:
        DeploymentError: the stack can't be deployed, its tasks do not start, or its files can't be copied.
    """
    if reason := why_not(engine, place):
        raise DeploymentError(reason)
    load.prefix.parent.mkdir(parents=True, exist_ok=True)
    with _deployed(engine, place, load, service, web_port):
        tasks = Tasks(engine, place.workers)
        master = started_master(tasks)
        web_ui = nullcontext() if web_port is None else web_ui_at(web_port, master.id)
        with _followed(master, load.prefix, say) as tell, _told_the_tasks(master, place.sampled), web_ui:
            return _wait(master, tasks, (load.meanwhile, tell), say)


def remove_left_load() -> list[str]:
    """Remove what a load of this checkout left that was killed, with its files and its agents. Returns what it was.

    Raises:
        DeploymentError: no engine answers, or something can't be removed.
    """
    engine = connect()
    removed = [*STACK.remove(engine), *monitor_stack.remove(engine)]
    for holder in engine.client.containers.list(all=True, filters={"label": f"{LABEL}={STACK.kind}"}):
        if is_ours(holder.labels):
            holder.remove(force=True)
    return removed


def why_not(engine: Engine, place: LoadPlace) -> str | None:
    """Why no load can come from this engine's swarm, as far as that is known beforehand. None if it can."""
    swarm = engine.swarm()
    if swarm.get("LocalNodeState") != "active":
        return "this engine is in no swarm; make one (docker swarm init; docs/cluster.md) and run again"
    if not swarm.get("ControlAvailable"):
        return "this engine is a worker of a swarm; run Fourfold against a manager (DOCKER_HOST)"
    if reason := why_no_stacks() or STACK.why_still_there(engine) or STACK.why_another_has_it(engine):
        return reason
    if place.network is not None and not _is_in_swarm(engine, place.network):
        return (
            f"the swarm has no overlay network {place.network}; docker network ls lists those that there are. A stack "
            "puts its name before those of its networks"
        )
    try:
        engine.client.images.get(place.image)
    except docker.errors.NotFound:
        if "/" not in place.image:
            return (
                f"the engine has no image {place.image}; build it (make loader), and bring it to each node that "
                "sends load (docs/cluster.md)"
            )
    return None


def model_of(
    node: str, place: LoadPlace, load: Load, service: ServiceFile, folder: Path, *, has_web_ui: bool = False
) -> Model:
    """What Docker is to deploy: stack-load.yml, with the master on the node of this ID, and Fourfold's labels.

    Raises:
        DeploymentError: a file can't be sent to the nodes.
    """
    variables = {
        "LOAD_WORKERS": str(place.workers),
        "LOAD_IMAGE": place.image,
        "LOAD_NODES": place.nodes,
        "LOAD_MASTER": f"node.id == {node}",
        "LOAD_ARGUMENTS": "--version",  # the whole command is set below
    }
    said = run_docker(["stack", "config", "--compose-file", str(FILE)], "docker stack config", variables=variables)
    model: Model = without_variables(yaml.safe_load(said))
    model.pop("version", None)
    files = given_files(load.locustfile, service, folder)
    model["configs"] = without_variables({name: {"file": str(path)} for name, (path, _) in files.items()})
    commands = _commands(place, load, has_web_ui=has_web_ui)
    for name, of_service in model["services"].items():
        of_service["command"] = without_variables(commands[name])
        of_service["configs"] = [{"source": source, "target": target} for source, (_, target) in files.items()]
        if place.network is not None:
            of_service["networks"]["service"] = None
    if place.network is not None:
        model["networks"]["service"] = without_variables({"external": True, "name": place.network})
    if place.sampled is not None:
        model["services"][MASTER]["networks"]["agents"] = None
        model["networks"]["agents"] = {"external": True, "name": monitor_stack.NETWORK}
        model["services"][MASTER]["secrets"] = [monitor_stack.TOKEN]
        model["secrets"] = {monitor_stack.TOKEN: {"external": True}}
    return STACK.labelled(model)


def _commands(place: LoadPlace, load: Load, *, has_web_ui: bool) -> dict[str, list[str]]:
    both = ["locust", "--locustfile", in_container(load.locustfile), "--service", f"{GIVEN}/service.toml"]
    # The users of a worker that dies go to the others after some 8 s, and not after a minute.
    of_master = ["--master", "--enable-rebalancing", "--csv", f"{RESULTS}/{load.prefix.name}"]
    of_master += ["--web-host", LOOPBACK] if has_web_ui else ["--headless", "--only-summary"]
    of_master += ["--expect-workers", str(place.workers), "--expect-workers-max-wait", f"{START_S:.0f}"]
    of_master += ["--replicas", NO_REPLICAS if place.sampled is None else f"{SWARM_SERVICE}:{place.sampled}"]
    if place.sampled is not None:
        of_master += ["--agents", monitor_stack.AGENTS, "--agents-token-file", f"/run/secrets/{monitor_stack.TOKEN}"]
        of_master += ["--tasks-file", TASKS_FILE]
    return {
        MASTER: [*both, *of_master, *load.arguments],
        WORKER: [*both, "--worker", "--master-host", MASTER],
    }


@contextmanager
def _deployed(
    engine: Engine, place: LoadPlace, load: Load, service: ServiceFile, web_port: int | None
) -> Iterator[None]:
    """The stack runs as long as the block lasts. Then its files are brought back and it is removed, however the block
    ends. An error in the block is raised even if that fails as well.

    Raises:
        DeploymentError: it can't be deployed, or its files can't be copied; in the latter case it is still there.
    """
    try:
        with TemporaryDirectory(prefix="fourfold-") as folder:
            node, has_web_ui = str(engine.swarm()["NodeID"]), web_port is not None
            STACK.deploy(model_of(node, place, load, service, Path(folder), has_web_ui=has_web_ui))
        yield
    except BaseException:
        with uninterrupted():
            try:
                _bring_back_and_remove(engine, place, load.prefix)
            except FAILURES as error:
                print(f"error: {tidy(str(error))}", file=sys.stderr)
        raise
    with uninterrupted():
        _bring_back_and_remove(engine, place, load.prefix)


def _bring_back_and_remove(engine: Engine, place: LoadPlace, prefix: Path) -> None:
    _bring_back(engine, place, prefix)
    STACK.remove(engine)


def _wait(master: Any, tasks: Tasks, again_and_again: Sequence[Callable[[], None]], say: Callable[[str], None]) -> int:
    """The master's exit code, once it has ended.

    Raises:
        DeploymentError: its container, or the engine, is gone.
    """
    answered_at = time.monotonic()
    while True:
        try:
            master.reload()
            is_over = master.status in ("exited", "dead")
            for lost in () if is_over else tasks.lost():
                say(lost)
            answered_at = time.monotonic()
        except docker.errors.NotFound as error:
            raise DeploymentError(
                "somebody removed the container of Locust's master while it ran; what it had written was kept"
            ) from error
        except API_FAILURES as error:
            if time.monotonic() - answered_at > SILENT_S:
                raise DeploymentError(
                    f"the engine has not answered for {SILENT_S:.0f} s ({tidy(str(error))}), and the load goes on to "
                    f"its end; when it answers again, its files are in the volume {_volume()}, and {INFRA} down --all "
                    "removes it"
                ) from error
            is_over = False
        for each in again_and_again:
            each()
        if is_over:
            return int(master.attrs["State"]["ExitCode"])
        time.sleep(POLL_S)


@contextmanager
def _followed(master: Any, prefix: Path, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """What the master logs goes to ``PREFIX.log``. What the block gets is to be called again and again, to have each
    whole line said."""
    log = prefix.with_name(f"{prefix.name}.log")
    with log.open("wb") as written, log.open("rb") as read:
        command = ["docker", "logs", "--follow", master.id]
        following = subprocess.Popen(
            command, env=for_docker(), stdout=written, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield lambda: _say_lines(read, say)
        finally:
            with suppress(subprocess.TimeoutExpired):
                _end_master(master)
                following.wait(LOGS_WITHIN_S)
            _end(following)
            _say_lines(read, say)


def _say_lines(file: IO[bytes], say: Callable[[str], None]) -> None:
    while True:
        at = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(at)
            return
        say(line.decode("utf-8", "replace").rstrip())


@contextmanager
def _told_the_tasks(master: Any, sampled: str | None) -> Iterator[None]:
    """The master, which has no Docker socket, is told which tasks a service has as long as the block lasts."""
    if sampled is None:
        yield
        return
    command = ["docker", "exec", "--interactive", master.id, "sh", "-c", f"cat > {TASKS_FILE}"]
    lines = task_lines(connect().client, sampled)  # a client of its own: it is another thread's
    with subprocess.Popen(
        command,
        env=for_docker(),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,  # or closing it would fail on what is left for a master that has ended
        start_new_session=True,
    ) as channel:
        threading.Thread(target=_write_lines, args=(lines, channel.stdin), daemon=True).start()
        try:
            yield
        finally:
            _end(channel)


def _write_lines(lines: Iterable[str], to: IO[bytes]) -> None:
    """Write lines until nobody reads them any more."""
    with suppress(OSError, ValueError):
        for line in lines:
            to.write(line.encode())


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    process.kill()
    process.wait()


def _end_master(master: Any) -> None:
    """Ask the master to end, unless it has, and wait until its files are whole."""
    with suppress(*API_FAILURES):
        master.reload()
        if master.status == "running":
            master.kill("SIGTERM")
            if not until_true(lambda: _has_ended(master), END_S):
                master.kill()


def _has_ended(master: Any) -> bool:
    master.reload()
    return str(master.status) != "running"


def _bring_back(engine: Engine, place: LoadPlace, prefix: Path) -> None:
    """Copy what the master has written, also if its container is gone: its volume stays. And what the workers said.

    Raises:
        DeploymentError: it can't be copied; the stack is still there.
    """
    try:
        volume = engine.client.volumes.get(_volume())
    except docker.errors.NotFound:
        return
    _copy_workers_logs(prefix)
    # A container that is never started shows the volume to the engine's copy.
    holder = engine.client.containers.create(
        place.image,
        volumes={volume.name: {"bind": RESULTS, "mode": "ro"}},
        labels=labels(STACK.kind),
        network_mode="none",
    )
    try:
        copy_out(holder.get_archive(RESULTS)[0], prefix.parent)
    except (OSError, DeploymentError, *API_FAILURES) as error:
        raise DeploymentError(
            f"the files of the load could not be copied ({why(error, prefix.parent)}); they are still in the volume "
            f"{volume.name}, until {INFRA} down --all"
        ) from error
    finally:
        holder.remove(force=True)


def _copy_workers_logs(prefix: Path) -> None:
    """Keep what the workers said, on whatever node. Those of a node that is gone are not waited for."""
    command = ["docker", "service", "logs", "--no-trunc", STACK.service_name(WORKER)]
    with prefix.with_name(f"{prefix.name}_workers.log").open("wb") as log, suppress(subprocess.TimeoutExpired):
        subprocess.run(
            command,
            env=for_docker(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=LOGS_WITHIN_S,
            start_new_session=True,
        )


def _volume() -> str:
    return f"{STACK.name}_results"


def _is_in_swarm(engine: Engine, network: str) -> bool:
    found = engine.client.networks.list(names=[network])
    return any(each.name == network and each.attrs.get("Scope") == "swarm" for each in found)
