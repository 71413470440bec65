"""Load from the nodes of a swarm: the stack file, what goes to the nodes, and a real load that loses a worker."""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, names_on

from infra.cluster import load_files
from infra.cluster.load_command import _arguments_of, _tell, add_load_options
from infra.cluster.load_files import given_files, service_file_of
from infra.cluster.load_stack import LoadPlace, model_of, run_on_swarm, why_not
from infra.cluster.load_tasks import STACK
from infra.deployments.docker_engine import Engine
from infra.deployments.ownership import LABEL
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from infra.experiment.load import Load
from infra.experiment.plan import Plan
from runfiles.events import INTERRUPTED, RECORDING_FAILED_EXIT_CODE, ROWS_LOST, RUN_TIME
from runfiles.files import REQUESTS_SUFFIX, RUN_RECORD_SUFFIX
from runfiles.records import RunRecord
from servicefile.service_file import ServiceFile, read_service

STACK_FILES = sorted(path.name for path in ROOT.glob("stack*.yml"))
SERVICE_FILES = [ROOT / "inference" / "service.toml", *sorted((ROOT / "services").glob("*/service.toml"))]
SERVER = "fourfold-load-test-server"
"""A service, and its network, that the load is sent to."""


def services_of(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["services"]
    return found


@pytest.mark.parametrize("file", STACK_FILES)
def test_no_stack_file_mounts_a_docker_socket_or_asks_for_more_than_its_user_may(file: str) -> None:
    for name, service in services_of(file).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys(), name
        uid = re.fullmatch(r"(?:\$\{\w+:-)?(\d+):\d+\}?", service["user"])
        assert uid, name
        assert int(uid[1]) > 0, name
        mounted = [str(volume["source"]) for volume in service["volumes"] if volume["type"] == "bind"]
        assert not [path for path in mounted if "docker" in path or path in ("/", "/run", "/var", "/var/run")], name


def test_the_load_publishes_nothing_replaces_nobody_and_has_a_network_of_its_own() -> None:
    assert "stack-load.yml" in STACK_FILES
    services = services_of("stack-load.yml")
    assert services.keys() == {"master", "worker"}
    for service in services.values():
        assert "ports" not in service
        assert service["networks"] == ["load"]
        assert service["deploy"]["restart_policy"] == {"condition": "none"}
    placed = {name: service["deploy"]["placement"]["constraints"] for name, service in services.items()}
    assert placed["worker"] == ["${LOAD_NODES:-node.labels.fourfold == load}"]
    assert placed["master"] == ["${LOAD_MASTER:-node.role == manager}"]


@pytest.mark.parametrize("path", SERVICE_FILES, ids=lambda path: path.parent.name)
def test_what_goes_to_the_nodes_asks_as_the_service_file_does(path: Path, tmp_path: Path) -> None:
    service = read_service(path)
    files = given_files("keep_alive", service, tmp_path)
    for source, target in files.values():  # as they stand in a container
        (tmp_path / Path(target).name).write_bytes(source.read_bytes())
    there = read_service(tmp_path / "service.toml")
    assert there.request == replace(service.request, texts=tmp_path / service.request.texts.name)
    for key in ("name", "replica_header", "ready", "ready_status"):
        assert getattr(there, key) == getattr(service, key)


def test_a_request_of_all_kinds_of_values_goes_to_the_nodes_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("text\nfine\n")
    body = {"a b": 'quote " back \\ new\nline \x7f ü 😀', "n": 1, "x": 1.5, "yes": True, "list": [1, {"k": "$text"}]}
    request = replace(
        read_service().request, body=body, status=201, answer_has=r"fi\w+", texts=tmp_path / "reviews.csv"
    )
    service = replace(read_service(), request=request, ready="port", ready_status=204, replica_header="X-Who")
    file = tmp_path / "service.toml"
    file.write_text(service_file_of(service), encoding="utf-8")
    there = read_service(file)
    assert there.request == request
    assert (there.ready, there.ready_status, there.replica_header) == ("port", 204, "X-Who")


def test_a_file_that_a_swarm_does_not_take_is_named_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_files, "MOST_CONFIG_BYTES", 10_000)
    with pytest.raises(DeploymentError, match=r"reviews.csv has 18 kB, and a swarm takes no config of more than 10 kB"):
        given_files("keep_alive", read_service(), tmp_path)


@pytest.mark.engine
def test_the_master_is_where_its_files_are_fetched_and_the_workers_are_where_they_are_told(
    engine: Engine, tmp_path: Path
) -> None:
    place = LoadPlace(3, nodes="node.labels.mine == yes", network="theirs", image="my/load:1")
    load = Load("open_load", tmp_path / "load", ["--host", "http://a$b:80"])
    model = model_of("some-node", place, load, read_service(), tmp_path)
    master, worker = model["services"]["master"], model["services"]["worker"]
    assert master["deploy"]["placement"]["constraints"] == ["node.id == some-node"]
    assert worker["deploy"]["placement"]["constraints"] == ["node.labels.mine == yes"]
    assert worker["deploy"]["replicas"] == 3
    assert {master["image"], worker["image"]} == {"my/load:1"}
    assert master["command"][-2:] == ["--host", "http://a$$b:80"]
    assert master["command"][master["command"].index("--replicas") + 1] == "none"
    assert "--enable-rebalancing" in master["command"]  # or the users of a worker that dies are gone for a minute
    assert all(set(each["networks"]) == {"load", "service"} for each in (master, worker))
    assert model["networks"]["service"]["name"] == "theirs"


@pytest.mark.engine
def test_the_stack_file_takes_the_options_of_a_load_by_hand(engine: Engine) -> None:
    command = ["docker", "stack", "config", "--compose-file", str(ROOT / "stack-load.yml")]
    said = subprocess.run(
        command, env=os.environ | {"LOAD_ARGUMENTS": "--host http://a:80 --users 3"}, capture_output=True, check=True
    ).stdout
    assert yaml.safe_load(said)["services"]["master"]["command"][-4:] == ["--host", "http://a:80", "--users", "3"]


@pytest.fixture
def load_image(engine: Engine) -> str:
    """The load's image. It is built if it is missing."""
    image = LoadPlace().image
    if not engine.client.images.list(name=image):
        command = ["docker", "build", "--tag", image, "--file", str(ROOT / "Dockerfile.load"), str(ROOT)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode != 0:
            pytest.skip(f"the image of the load can't be built here: {built.stderr.strip().splitlines()[-1]}")
    return image


@pytest.fixture
def asked(engine: Engine, load_image: str, tmp_path: Path) -> Iterator[ServiceFile]:
    """A small service in a network of a swarm of the test's own, and what it is asked."""
    if engine.swarm().get("LocalNodeState") != "inactive":
        pytest.skip("this engine is in a swarm")
    before, client = names_on(engine), engine.client
    of_the_service = {"label": f"com.docker.swarm.service.name={SERVER}"}
    client.swarm.init(advertise_addr="127.0.0.1", listen_addr="127.0.0.1:2377")
    try:
        network = client.networks.create(SERVER, driver="overlay")
        service = client.services.create(
            load_image,
            ["python", "-m", "http.server", "5000", "--directory", "/app/texts"],
            name=SERVER,
            networks=[network.id],
            endpoint_spec={"Mode": "dnsrr"},
            init=True,
            stop_grace_period=1_000_000_000,
        )
        file = tmp_path / "service.toml"
        file.write_text(
            f'image = "{load_image}"\n[request]\nmethod = "GET"\npath = "/reviews.csv"\n'
            f'texts = "{ROOT}/texts/reviews.csv"\n'
        )
        yield read_service(file)
        service.remove()
        until_true(lambda: not client.containers.list(all=True, filters=of_the_service), 20)
        network.remove()
    finally:
        with suppress(DeploymentError):
            STACK.remove(engine)
        client.swarm.leave(force=True)
        if "docker_gwbridge" not in before:
            client.networks.get("docker_gwbridge").remove()


def once_the_load_goes_on(said: Sequence[str], do: Callable[[], None]) -> Callable[[], None]:
    """What calls ``do`` once, 2 s after the master has told its workers to begin."""
    began_at = list[float]()
    done = list[bool]()

    def meanwhile() -> None:
        if not began_at and any("Sending spawn jobs" in line for line in said):
            began_at.append(time.monotonic())
        if began_at and not done and time.monotonic() - began_at[0] >= 2:
            done.append(True)
            do()

    return meanwhile


def left_of_the_load(engine: Engine) -> list[Any]:
    """All that the load made and that is still there."""
    client, filters = engine.client, {"label": f"{LABEL}={STACK.kind}"}
    kinds = (client.services, client.networks, client.volumes, client.configs, client.secrets)
    return [
        *client.containers.list(all=True, filters=filters),
        *(x for kind in kinds for x in kind.list(filters=filters)),
    ]


@pytest.mark.engine
def test_a_load_of_two_workers_comes_back_whole_though_one_is_killed_and_nothing_is_left(
    engine: Engine, asked: ServiceFile, tmp_path: Path
) -> None:
    said = list[str]()
    place = LoadPlace(nodes="node.role == manager", network=SERVER)
    arguments = ["--host", f"http://{SERVER}:5000", "--users", "4", "--spawn-rate", "4", "--run-time", "6"]

    def kill_a_worker() -> None:
        (worker,) = [each for each in STACK.containers(engine) if each.name.startswith("fourfold-load_worker.2")]
        worker.kill()

    load = Load("keep_alive", tmp_path / "load", arguments, meanwhile=once_the_load_goes_on(said, kill_a_worker))
    assert run_on_swarm(engine, place, load, asked, said.append) == 0
    assert not left_of_the_load(engine)
    record = whole_record(load.prefix)
    assert record.ended_by == RUN_TIME
    (fault,) = record.faults
    assert fault.kind == ROWS_LOST
    assert _tell(tmp_path, 0) == RECORDING_FAILED_EXIT_CODE
    assert re.match(r"worker worker-2-on-\S+ was lost (\d+ s before the end|before its first report)", fault.text)
    assert any(re.match(r"worker 2 on \S+ is failed: task: non-zero exit \(137\)", line) for line in said)
    assert "worker-1-on-" in load.prefix.with_name("load_workers.log").read_text()


@pytest.mark.slow
@pytest.mark.engine
def test_a_load_that_is_interrupted_comes_back_whole_and_nothing_is_left(
    engine: Engine, asked: ServiceFile, tmp_path: Path
) -> None:
    said = list[str]()

    def interrupt() -> None:
        raise KeyboardInterrupt

    arguments = ["--host", f"http://{SERVER}:5000", "--users", "4", "--spawn-rate", "4", "--run-time", "60"]
    load = Load("keep_alive", tmp_path / "load", arguments, meanwhile=once_the_load_goes_on(said, interrupt))
    with pytest.raises(KeyboardInterrupt):
        run_on_swarm(engine, LoadPlace(nodes="node.role == manager", network=SERVER), load, asked, said.append)
    assert not left_of_the_load(engine)
    assert whole_record(load.prefix).ended_by == INTERRUPTED


def whole_record(prefix: Path) -> RunRecord:
    """The record of a run, after checking that Locust's own totals and ours say the same."""
    record = RunRecord.read(Path(f"{prefix}{RUN_RECORD_SUFFIX}"))
    with Path(f"{prefix}{REQUESTS_SUFFIX}").open(newline="") as file:
        requests = sum(1 for _ in csv.DictReader(file))
    with Path(f"{prefix}_stats.csv").open(newline="") as file:
        (total,) = [row for row in csv.DictReader(file) if row["Name"] == "Aggregated"]
    assert requests == int(total["Request Count"]) == record.requests
    assert requests > 0
    assert record.failures == int(total["Failure Count"]) == 0
    return record


@pytest.mark.engine
def test_without_a_swarm_no_load_comes_from_one(engine: Engine) -> None:
    if engine.swarm().get("LocalNodeState") != "inactive":
        pytest.skip("this engine is in a swarm")
    assert "this engine is in no swarm; make one (docker swarm init" in str(why_not(engine, LoadPlace()))


def test_a_load_samples_as_often_as_asked_and_one_in_the_web_ui_is_ended_by_people() -> None:
    parser = argparse.ArgumentParser()
    add_load_options(parser)
    said = ["--on-swarm", "--host", "http://10.0.0.1:8080", "--replica-interval", "5"]
    headless = _arguments_of(Plan(), parser.parse_args(said))
    assert headless[headless.index("--replica-interval") + 1] == "5"
    assert headless[headless.index("--run-time") + 1] == str(Plan().warm_up_s + Plan().seconds)
    assert "--run-time" not in _arguments_of(Plan(), parser.parse_args([*said, "--web"]))
