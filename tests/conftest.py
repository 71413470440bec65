"""What several tests need: a free port, the real service as a process, a Docker engine, and one with a routing mesh.

The mesh is on this machine if its kernel has IPVS. Otherwise the environment names a Docker engine elsewhere:
FOURFOLD_MESH_HOST (its DOCKER_HOST), FOURFOLD_MESH_REACH (the address at which its port 8080 answers) and
FOURFOLD_MESH_IMAGE (an image of the service on it). After FOURFOLD_MESH_UNTIL (seconds since the epoch) no test starts
there.
"""

from __future__ import annotations

import atexit
import getpass
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra import environment
from infra.deployments import host_there, over_ssh, reach
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.images import find_image
from infra.deployments.ready import until_ready
from infra.deployments.swarm_mode import why_no_mesh
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from infra.experiment.circumstances import service_record
from servicefile.service_file import read_service

OWN = read_service()
OWN_RECORD = service_record(OWN)
IMAGE = str(OWN.image)
ROOT = Path(__file__).resolve().parents[1]

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
SetEnv OMP_NUM_THREADS=1
"""

MESH_PORT = 8080
"""What the tests of the routing mesh publish, on whichever engine."""

if sys.flags.optimize:
    pytest.exit("-O and PYTHONOPTIMIZE take the asserts out of Python, and so out of the tests; run make test", 2)

# Tests depend only on this machine, as experiments do: no setting of another project reaches them or their processes.
_home = tempfile.TemporaryDirectory(prefix="fourfold-home-")
atexit.register(_home.cleanup)
_clean = environment.for_tests(Path(_home.name))
os.environ.clear()
os.environ.update(_clean)

# A shell ignores SIGINT in what it starts in the background. Processes that are interrupted here must not inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Service:
    """The real service with the bundled model, as its users start it."""

    url: str
    port: int
    metrics: Path
    log: Path
    process: subprocess.Popen[bytes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(ip: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as probe:
        return probe.connect_ex((ip, port)) == 0


@contextmanager
def forwarder(name: str, to: int, ip: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """A program of this name that forwards a port of its own to port ``to``; its URL and process ID."""
    if platform.system() != "Linux":
        pytest.skip("only Linux lets a process choose its name")
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("forwarder.py")), name, ip, str(port), str(to)]
    process = subprocess.Popen(command)
    try:
        assert until_true(lambda: is_open(ip, port), 20)
        yield f"http://{ip}:{port}", process.pid
    finally:
        process.kill()
        process.wait()


def start_service(folder: Path, **environment: str) -> Service:
    """Start ``python -m inference`` without waiting for it."""
    port = free_port()
    metrics, log = folder / "system_inference_metrics.csv", folder / "service.log"
    own = {"HOST": "127.0.0.1", "PORT": str(port), "METRICS_LOG_FILE": str(metrics), "REPLICA_NAME": "test-replica"}
    bundled = {"INFERENCE_MODEL": str(ROOT / "inference" / "bundled_model")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "inference"],
            cwd=ROOT,
            env=os.environ | own | bundled | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Service(f"http://127.0.0.1:{port}", port, metrics, log, process)


def wait_for(service: Service) -> Service:
    def evidence() -> str:
        if service.process.poll() is not None:
            raise DeploymentError(service.log.read_text())
        return service.log.read_text()

    until_ready(service.url, read_service(), 60, evidence)
    return service


def stop(service: Service) -> None:
    service.process.terminate()
    try:
        service.process.wait(30)
    finally:
        service.process.kill()  # a service that hangs would take memory and processors from later tests


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for all tests that only send requests to it."""
    service = start_service(tmp_path_factory.mktemp("service"))
    try:
        yield wait_for(service)
    finally:
        stop(service)


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Service]:
    """A service for a single test, which may stop it or count its rows."""
    service = start_service(tmp_path)
    try:
        yield wait_for(service)
    finally:
        stop(service)


@pytest.fixture(scope="session")
def engine() -> Engine:
    try:
        return connect()
    except DeploymentError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def service_image(engine: Engine) -> str:
    """The service's image. It is built from the project's Dockerfile if it is missing."""
    try:
        find_image(engine, IMAGE, is_built=True)
    except DeploymentError:
        built = subprocess.run(["docker", "build", "-t", IMAGE, str(ROOT)], capture_output=True, text=True, check=False)
        if built.returncode != 0:
            pytest.skip(f"the image can't be built here: {built.stderr.strip().splitlines()[-1]}")
    return IMAGE


@dataclass(frozen=True)
class Mesh:
    """A Docker engine with a routing mesh. DOCKER_HOST names it while the test runs."""

    engine: Engine
    url: str
    image: str

    @property
    def arguments(self) -> list[str]:
        """The arguments for infra's commands."""
        reach = f"swarm={self.url.removeprefix('http://')}"
        return ["--image", self.image, "--port", f"swarm={MESH_PORT}", "--reach", reach, "--start-timeout", "400"]


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> Mesh:
    if time.time() > float(os.environ.get("FOURFOLD_MESH_UNTIL", "inf")):
        pytest.skip("FOURFOLD_MESH_UNTIL: time is up; an emulated machine is slow here")
    if host := os.environ.get("FOURFOLD_MESH_HOST"):
        monkeypatch.setenv("DOCKER_HOST", host)
        return Mesh(connect(), f"http://{os.environ['FOURFOLD_MESH_REACH']}", os.environ["FOURFOLD_MESH_IMAGE"])
    try:
        engine = connect()
        reason = why_no_mesh(engine)
        find_image(engine, IMAGE, is_built=True)
    except DeploymentError as error:
        pytest.skip(str(error))
    if reason:
        pytest.skip(reason)
    return Mesh(engine, f"http://127.0.0.1:{MESH_PORT}", IMAGE)


def names_on(engine: Engine) -> list[str]:
    """The names of all containers, networks, volumes and services of a Docker engine, and its state in a swarm."""
    client = engine.client
    held = [*client.containers.list(all=True), *client.networks.list(), *client.volumes.list()]
    swarm = engine.swarm()
    services = client.services.list() if swarm.get("ControlAvailable") else []
    return sorted([*(thing.name for thing in [*held, *services]), str(swarm.get("LocalNodeState"))])


@pytest.fixture
def bystanders(engine: Engine, service_image: str) -> Iterator[list[str]]:
    """A container and a network that are not Fourfold's. Gives the names of everything on the Docker engine then."""
    network = engine.client.networks.create("bystander-network")
    container = engine.client.containers.run(
        service_image, ["sleep", "600"], name="bystander", network=network.name, detach=True, init=True
    )
    try:
        yield names_on(engine)
        container.reload()
        assert container.status == "running"
    finally:
        container.remove(force=True)
        network.remove()


@pytest.fixture(scope="session")
def sshd() -> Iterator[tuple[str, Path]]:
    """USER@HOST:PORT of an sshd, and the folder of an ssh command that has a key for it."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("there is no sshd, or no ssh (openssh-server, openssh-client)")
    folder = Path(tempfile.mkdtemp(prefix="fourfold-"))
    port = free_port()
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    options = f"-F none -i {folder}/key -o IdentitiesOnly=yes -o UserKnownHostsFile={folder}/known_hosts"
    (folder / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {options} "$@"\n')
    (folder / "ssh").chmod(0o755)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=subprocess.DEVNULL)
    try:
        assert until_true(lambda: is_open("127.0.0.1", port), 10)
        place = f"{getpass.getuser()}@127.0.0.1:{port}"
        looked = subprocess.run(
            [folder / "ssh", "-o", "BatchMode=yes", "-p", str(port), place.rpartition(":")[0], "true"],
            capture_output=True,
            text=True,
            check=False,
        )
        if looked.returncode != 0:
            pytest.skip(f"sshd lets nobody in here: {looked.stderr.strip()}")
        yield place, folder
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


@pytest.fixture
def there(sshd: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The ssh:// URL of that machine."""
    place, folder = sshd
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for module in (reach, host_there):
        monkeypatch.setattr(module, "STATE", tmp_path / ".fourfold")
    yield f"ssh://{place}"
    over_ssh.close()
