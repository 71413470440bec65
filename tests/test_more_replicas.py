"""As many replicas as the user wants: swarm-N behind the routing mesh, compose-N behind a reverse proxy."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import docker
import pytest
import requests
from conftest import OWN, ROOT, free_port
from recorded_runs import measured, request, steady_samples, write_experiment, write_run

from analysis.analyse import Analysis, analyse
from analysis.measure.balance import expected_largest_share
from analysis.read.results import read_results
from analysis.show.chart_style import colour
from analysis.show.page import render
from infra.build import BASE_IMAGE
from infra.deployments.compose import why_no_compose
from infra.deployments.compose_proxy import PROXY, proxied_model, why_no_proxy_image
from infra.deployments.docker_engine import Engine
from infra.deployments.images import find_image
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, NAME_OF_KIND, Running, deployed, why_not
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError, PlanError
from infra.experiment.groups import Memory, grouped, why_one_port
from infra.experiment.plan import read_plan
from runfiles.deployments import COMPOSE_PROXY, DEFAULT, SWARM, USUAL, hint_for, listed, names_of, title_of
from runfiles.records import Limits
from servicefile.service_file import ComposeFile, Container, ServiceFile, read_service
from servicefile.toml import NotValid

STAND_IN = "fourfold-test-nginx"
"""The proxy's image where no registry can be reached: Debian's nginx in the base image of the service."""


def test_the_names_of_both_families() -> None:
    assert names_of(SWARM) == [f"swarm-{replicas}" for replicas in range(1, 33)]
    assert names_of(COMPOSE_PROXY) == [f"compose-{replicas}" for replicas in range(2, 33)]
    assert [BY_NAME[name].facts.replicas for name in ("compose-2", "compose-32", "swarm-1", "swarm-17")] == [
        2,
        32,
        1,
        17,
    ]
    assert title_of("swarm-5") == "Swarm, 5 replicas"
    assert title_of("compose-3") == "Compose, 3 replicas behind a proxy"
    assert DEFAULT == ("host", "docker", "compose", "swarm-1", "swarm-3")
    assert USUAL == ("host", "docker", "docker-host-network", "compose", "swarm-1", "swarm-3")
    assert NAME_OF_KIND[COMPOSE_PROXY] == "compose-2"
    assert listed(["swarm-5", "compose-2"])[-5:] == ["compose", "compose-2", "swarm-1", "swarm-3", "swarm-5"]


@pytest.mark.parametrize("name", ["swarm-33", "swarm-0", "swarm-03", "swarm-", "swarm--1", "swarm-x", "swarm"])
def test_a_number_of_replicas_that_swarm_does_not_get_is_refused_with_the_range(name: str) -> None:
    assert hint_for(name) == "swarm-N is possible for N from 1 to 32"
    with pytest.raises(PlanError, match="swarm-N is possible for N from 1 to 32"):
        read_plan(None, only=f"host,{name}")


@pytest.mark.parametrize("name", ["compose-1", "compose-33", "compose-proxy"])
def test_a_number_of_replicas_that_compose_does_not_get_is_refused_with_the_range(name: str) -> None:
    assert hint_for(name) == "compose-N is possible for N from 2 to 32"


def test_the_command_line_names_the_range() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra", "up", "swarm-33"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no deployment 'swarm-33'; swarm-N is possible for N from 1 to 32" in done.stderr


def test_a_plan_has_them_in_the_order_of_their_numbers() -> None:
    plan = read_plan(None, only="swarm-10,compose-3,swarm-2,compose")
    assert plan.deployments == ("compose", "compose-3", "swarm-2", "swarm-10")


def test_compose_runs_beside_its_replicas_but_two_numbers_of_one_family_do_not() -> None:
    groups, reason = grouped(("compose", "compose-2", "compose-3", "swarm-5"), Memory(100 * 2**30))
    assert groups == (("compose", "compose-2", "swarm-5"), ("compose", "compose-3"))
    assert reason == (
        "Compose, 2 replicas behind a proxy and Compose, 3 replicas behind a proxy can't run at once: they are one "
        "service, scaled"
    )
    assert why_one_port(("compose", "compose-3", "swarm-5"), Settings()) is None
    assert BY_NAME["compose-3"].facts.url(Settings()) == "http://127.0.0.1:8082"
    _, reason = grouped(("host", "compose-8"), Memory(2**32))
    assert reason == "9 replicas need 4.5 GiB, 4.0 GiB are free"


def test_the_proxys_image_is_a_key_of_the_service_file(tmp_path: Path) -> None:
    file = tmp_path / "service.toml"
    file.write_text('image = "mine"\nproxy_image = "mirror.example/nginx:1.28"\n')
    assert read_service(file).proxy_image == "mirror.example/nginx:1.28"
    assert OWN.proxy_image == "nginx:1.28-alpine"
    file.write_text('image = "mine"\nproxy_image = 3\n')
    with pytest.raises(NotValid, match="proxy_image = 3 is not the name of an image of nginx"):
        read_service(file)


def test_what_compose_starts_for_a_service_without_a_compose_file(tmp_path: Path) -> None:
    service = ServiceFile(
        tmp_path / "service.toml", "mine", image="mine", port=7000, container=Container(stop_s=3, user="1:1")
    )
    settings = Settings(service, cpus=0.5, service_cpus="1")
    services = proxied_model(settings, 4, 8082, tmp_path / "live")["services"]
    assert not (tmp_path / "live").exists()
    assert set(services) == {"service", PROXY}
    replicas, proxy = services["service"], services[PROXY]
    assert replicas["deploy"]["replicas"] == 4
    assert replicas["deploy"]["resources"]["limits"]["cpus"] == "0.5"
    assert "ports" not in replicas
    assert [(port["host_ip"], port["published"]) for port in proxy["ports"]] == [("127.0.0.1", "8082")]
    assert "server service:7000 max_fails=0;" in proxy["environment"]["PROXY_CONFIG"]
    assert "Host $$http_host;" in proxy["environment"]["PROXY_CONFIG"]  # Compose takes one dollar for a variable
    assert (replicas["cpuset"], proxy["cpuset"]) == ("1", "1")


USERS_FILE = """
services:
  web:
    image: other
    hostname: web
    container_name: web
    scale: 1
    read_only: true
    ports: ["5000:5000"]
    networks: [inner]
    environment: {METRICS_LOG_FILE: own.csv, LEVEL: info}
    volumes: ["${METRICS}/own.csv:/app/own.csv", "./data:/data:ro"]
  cache:
    image: cache
networks:
  inner:
"""


@pytest.mark.engine
def test_what_replicas_can_not_share_is_left_out_of_the_users_compose_file(engine: Engine, tmp_path: Path) -> None:
    if reason := why_no_compose(engine):
        pytest.skip(reason)
    (tmp_path / "compose.yml").write_text(USERS_FILE)
    compose = ComposeFile(tmp_path / "compose.yml", "web", {"METRICS": "$metrics_folder"}, metrics_file="own.csv")
    container = Container(writable=("/app",))
    service = ServiceFile(tmp_path / "service.toml", "mine", image="mine", compose=compose, container=container)
    model = proxied_model(Settings(service), 3, 8082, tmp_path / "live")
    assert (tmp_path / "live").is_dir()  # the file is told of it
    web, proxy = model["services"]["web"], model["services"][PROXY]
    assert not {"hostname", "scale", "ports"} & set(web)
    assert (web["image"], web["deploy"]["replicas"]) == ("mine", 3)
    assert [volume["target"] for volume in web["volumes"]] == ["/data", "/app"]
    assert web["environment"] == {"METRICS_LOG_FILE": "docker_system_inference_metrics.csv", "LEVEL": "info"}
    assert list(proxy["networks"]) == list(web["networks"]) == ["inner"]
    assert "cache" in model["services"]


def both_ways(folder: Path, keep: int) -> Analysis:
    """Four users on three replicas of Swarm and of Compose: one replica of Swarm's got two of them."""
    write_experiment(folder, [measured("compose-3"), measured("swarm-3")])
    for name, dealt in (("compose-3", "abc"), ("swarm-3", "abca")):
        rows = [request(place / 1000, replica=replica, connection_reused=0) for place, replica in enumerate(dealt)]
        rows += [
            request(0.005 + number / 100, replica=dealt[number % len(dealt)], connection_reused=keep)
            for number in range(1196)
        ]
        samples = [row for each in "abc" for row in steady_samples(0.2, 1000, replica=each, replica_id=each)]
        write_run(folder / name, "load", rows, samples)
    return analyse(read_results(folder))


def test_the_two_ways_of_balancing_stand_side_by_side_if_users_keep_their_connections(tmp_path: Path) -> None:
    analysis = both_ways(tmp_path, keep=1)
    (finding,) = [finding for finding in analysis.findings if finding.id == "finding-balance"]
    assert finding.text == (
        "The users kept their connections. Swarm, 3 replicas, which distributes connections: the busiest replica gave "
        "50.0% of the answers; 33.3% would be an even share. Compose, 3 replicas behind a proxy, which distributes "
        "requests: the busiest replica gave 33.3% of the answers; 33.3% would be an even share. A proxy can share the "
        "load of few users evenly. Swarm needs many connections for that, or new ones from time to time "
        "(--set reconnect_every=100)."
    )
    proxied = next(finding for finding in analysis.findings if finding.id == "finding-network-compose-3")
    assert "The proxy gives each request to the replica with the fewest open requests" in proxied.text
    assert "at most" not in proxied.text
    page = render(analysis)
    assert "Replicas behind a proxy and under Swarm" in page
    assert "(at the proxy)" in page  # the users' connections don't reach the replicas
    assert all(f'id="share-{balance.id}"' in page for balance in analysis.balances)


def test_new_connections_are_no_reason_to_set_the_two_side_by_side(tmp_path: Path) -> None:
    findings = {finding.id for finding in both_ways(tmp_path, keep=0).findings}
    assert "finding-balance" not in findings
    assert {"finding-network-compose-3", "finding-network-swarm-3"} <= findings


def test_other_numbers_of_replicas_have_colours_that_differ() -> None:
    assert len({colour(f"swarm-{replicas}") for replicas in range(4, 11)}) == 7
    assert colour("a deployment of a later version") == colour("swarm-7")


@pytest.mark.engine
def test_a_proxy_that_can_not_be_had_is_told_with_the_key_that_names_another(engine: Engine) -> None:
    reason = why_no_proxy_image(engine, replace(OWN, proxy_image="127.0.0.1:1/nginx"))
    assert str(reason).startswith("image 127.0.0.1:1/nginx is not here, and its registry can't be reached")
    assert str(reason).endswith("; or name another image of nginx (proxy_image in the service file)")


@pytest.fixture(scope="module")
def proxy_image(engine: Engine, service_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of nginx: the usual one if it can be had, else one with Debian's package."""
    if reason := why_no_compose(engine):
        pytest.skip(reason)
    for name in (OWN.proxy_image, STAND_IN):
        try:
            return str(engine.client.images.get(name).tags[0])
        except docker.errors.ImageNotFound:
            continue
    try:
        return str(find_image(engine, OWN.proxy_image, is_built=False).name)
    except DeploymentError as error:
        why = str(error)
    folder = tmp_path_factory.mktemp("nginx")
    if shutil.which("apt-get") is None:
        pytest.skip(f"there is no nginx here: {why}")
    steps = (["apt-get", "download", "nginx", "nginx-common"], ["docker", "build", "--tag", STAND_IN, "."])
    (folder / "Dockerfile").write_text(
        f"FROM {BASE_IMAGE}\nCOPY *.deb /tmp/\nRUN dpkg --unpack --force-depends /tmp/*.deb && nginx -v\n"
    )
    for step in steps:
        done = subprocess.run(step, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"there is no nginx here ({why}), and a stand-in can't be built: {done.stderr[-300:]}")
    return STAND_IN


@pytest.mark.engine
def test_three_replicas_behind_the_proxy_share_what_kept_connections_bring(proxy_image: str, tmp_path: Path) -> None:
    settings = Settings(replace(OWN, proxy_image=proxy_image), ports={COMPOSE_PROXY: free_port()})
    with deployed("compose-3", settings, tmp_path / "start") as running:
        assert "is still there" in str(why_not("compose-3", settings))
        assert running.service.limits == Limits(memory_bytes=settings.memory_bytes)
        assert not (tmp_path / "start" / "live").exists()  # each replica has its metrics file in its container
        assert sorted(answers_of(running).values()) == pytest.approx([12, 12, 12], abs=1)
        folder = load(running, tmp_path / "results", users=4, seconds=4)
        files = running.service.copy_metrics(tmp_path)
        analysis = analyse(read_results(folder))
        check_shares(analysis)
        answers = 36 + sum(share.requests for share in analysis.balances[0].shares)
        assert len(files) == 3
        assert sum(map(rows_in, files)) >= answers
        kill_one(running)
        assert until_true(lambda: running.service.gone() is not None, 30)
        assert "ended with exit code 137" in str(running.service.gone())
    assert why_not("compose-3", settings) is None


def answers_of(running: Running) -> Counter[str]:
    """How many of 36 requests each replica answered: two users took turns, each on a connection that it kept."""
    with requests.Session() as one, requests.Session() as other:
        replies = [
            session.post(f"{running.url}/infer", json={"text": "fine"}, timeout=10)
            for _ in range(18)
            for session in (one, other)
        ]
    assert all(reply.ok for reply in replies)
    assert not any(reply.headers.get("Connection") == "close" for reply in replies)
    return Counter(reply.headers["X-Replica"] for reply in replies)


def load(running: Running, folder: Path, users: int, seconds: int) -> Path:
    """An experiment with a load of users that keep their connections."""
    own = folder / "compose-3" / "round-1"
    own.mkdir(parents=True)
    write_experiment(folder, [measured("compose-3")])
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "keep_alive.py"), "--headless"]
    command += ["-u", str(users), "-r", str(users), "-t", str(seconds), "--host", running.url]
    command += ["--csv", str(own / "load"), "--replicas", running.service.replicas]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def check_shares(analysis: Analysis) -> None:
    """The replicas are known by their names, and no user stayed with one of them; the proxy's CPU is counted.

    Four users that stay would give one replica half of the answers. A proxy gives more to a replica that is faster.
    """
    (balance,) = analysis.balances
    (run,) = analysis.results.deployments[0].loads.values()
    assert not [doubt for doubt in analysis.validity.invalid if doubt.kind in ("restart", "unsampled")]
    assert sorted(share.name for share in balance.shares) == [
        f"fourfold-bench-proxy-llm-inference-{number}" for number in (1, 2, 3)
    ]
    assert balance.keeps_connections
    assert expected_largest_share(run, 3, deals_requests=True)[0] == pytest.approx(1 / 3)
    answers = [share.requests for share in balance.shares]
    print("answers of each replica", answers)
    assert 0.05 < min(answers) / sum(answers) < max(answers) / sum(answers) < 0.48
    proxys = analysis.loads[0].summary["hidden_reverse_proxy_cpu_ms"]
    print("CPU-ms of the proxy for an answer", proxys.value)
    assert proxys.value > 0


def rows_in(file: Path) -> int:
    with file.open(encoding="utf-8", newline="") as opened:
        return len(list(csv.DictReader(opened)))


def kill_one(running: Running) -> None:
    subprocess.run(
        ["docker", "kill", "fourfold-bench-proxy-llm-inference-2"], check=True, capture_output=True, timeout=20
    )
    assert running.service.last_words()
