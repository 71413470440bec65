"""The monitor's figures against the kernel's own, on a real engine: by the control group's files, and by the engine."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import numpy as np
import pytest
from cpu_loads import LOADS, CounterRecord, cpu_counter

from infra.deployments.docker_engine import Engine
from infra.deployments.waiting import until_true

import _read_docker
from _find_replicas import Finder
from _monitor import Monitor
from _read_cgroup import NoCgroup

RECEIVED, SENT = 30_000_000, 50_000_000
EXCHANGE = f"""
import socket
server = socket.create_server(("", 9000))
while True:
    peer, _ = server.accept()
    left = {RECEIVED}
    while left and (got := peer.recv(min(left, 65536))):
        left -= len(got)
    if not left:
        peer.sendall(bytes({SENT}))
    peer.close()
"""
"""A service that takes and gives a known number of bytes to each who connects."""

pytestmark = pytest.mark.engine
SECONDS = 4


@pytest.fixture
def run(engine: Engine, service_image: str) -> Iterator[Callable[[str], Any]]:
    """Starts containers of a Python program on this machine's engine."""
    if engine.is_remote:
        pytest.skip(f"the engine at {engine.endpoint} is not on this machine")
    made = []

    def start(program: str) -> Any:
        made.append(engine.client.containers.run(service_image, ["python", "-c", program], detach=True, init=True))
        made[-1].reload()
        return made[-1]

    try:
        yield start
    finally:
        for container in made:
            container.remove(force=True, v=True)


@pytest.fixture(params=["files", "one-shot"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the container is read: as is best on this machine, and as an engine elsewhere is asked."""

    def refuse(*_: object, **__: object) -> None:
        raise NoCgroup("as if the engine were elsewhere")

    if request.param == "one-shot":
        monkeypatch.setattr(_read_docker, "container_cgroup", refuse)
    return str(request.param)


def watch(container: Any, way: str, during: Callable[[], object]) -> list[dict[str, Any]]:
    """The monitor's samples of a container while something happens."""
    samples: list[dict[str, Any]] = []
    monitor = Monitor(Finder(f"container:{container.name}", "", None), 0.25, samples.append, lambda _: None)
    monitor.start()
    with gevent.Timeout(30):
        while not samples:
            gevent.sleep(0.05)
    during()
    gevent.sleep(0.3)
    sampling = monitor.sampling() or ""
    monitor.stop()
    if way == "files" and "cgroup" not in sampling:
        pytest.skip(f"the container's control group can't be read here ({sampling})")
    assert ("one-shot" in sampling) == (way == "one-shot")
    return samples


@pytest.mark.parametrize("load", LOADS)
def test_integrated_cpu_is_the_control_groups_own(run: Callable[[str], Any], way: str, load: str) -> None:
    """The rates, over the time that they are said to be of, come to what the kernel's counter grew by meanwhile.

    Tried three times: whoever reads both may lose the processor between a clock and a counter.
    """
    container = run(LOADS[load])
    counter = cpu_counter(container)
    assert until_true(lambda: counter() > 0.5, 30)
    for _ in range(3):
        with CounterRecord(counter) as kernel:
            samples = watch(container, way, lambda: gevent.sleep(SECONDS))[:-1]  # the last has no rate
        at = np.array([sample["read_at_unix_s"] for sample in samples])
        percent = np.array([sample["cpu_percent"] for sample in samples[1:]], dtype=float)
        integrated = float((percent / 100 * np.diff(at)).sum())
        grown = pytest.approx(kernel.between(at[0], at[-1]), rel=0.01)
        if integrated == grown and len(samples) > SECONDS * 3:
            break
    assert integrated == grown
    assert len(samples) > SECONDS * 3


def test_network_totals_are_those_of_the_veth(run: Callable[[str], Any], way: str) -> None:
    container = run(EXCHANGE)
    address = (container.attrs["NetworkSettings"]["IPAddress"], 9000)
    statistics = veth(container)
    assert until_true(lambda: connects(address), 30)

    def exchange() -> None:
        before.update({name: int((statistics / name).read_text()) for name in ("rx_bytes", "tx_bytes")})
        with socket.create_connection(address, timeout=30) as peer:
            peer.sendall(bytes(RECEIVED))
            left = SENT
            while left:
                left -= len(peer.recv(min(left, 65536)))

    before: dict[str, int] = {}
    samples = watch(container, way, exchange)
    after = {name: int((statistics / name).read_text()) for name in ("rx_bytes", "tx_bytes")}
    received = samples[-1]["net_rx_bytes"] - samples[0]["net_rx_bytes"]
    sent = samples[-1]["net_tx_bytes"] - samples[0]["net_tx_bytes"]
    # What goes into the container comes out of its peer on the host.
    assert received == pytest.approx(after["tx_bytes"] - before["tx_bytes"], rel=0.001)
    assert sent == pytest.approx(after["rx_bytes"] - before["rx_bytes"], rel=0.001)
    assert RECEIVED < received < RECEIVED * 1.1  # headers and acknowledgements
    assert SENT < sent < SENT * 1.1


def test_memory_is_what_docker_stats_says(run: Callable[[str], Any], way: str) -> None:
    container = run("import time\nheld = bytearray(40_000_000)\ntime.sleep(600)")

    def is_still() -> bool:
        said.append(docker_stats_memory(container))
        return len(said) > 1 and said[-1] == said[-2] and said[-1][0] > 35e6

    said: list[tuple[float, float]] = []
    assert until_true(is_still, 60)
    sample = watch(container, way, lambda: None)[-1]
    memory, step = docker_stats_memory(container)
    assert abs(sample["memory_bytes"] - memory) <= step
    assert len(said) > 1


def veth(container: Any) -> Path:
    """The statistics of the container's peer on the host."""
    index = container.exec_run(["cat", "/sys/class/net/eth0/iflink"]).output.decode().strip()
    for interface in Path("/sys/class/net").iterdir():
        if (interface / "ifindex").read_text().strip() == index:
            return interface / "statistics"
    pytest.skip("the container's veth can't be seen here")


def connects(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except OSError:
        return False


def docker_stats_memory(container: Any) -> tuple[float, float]:
    """Bytes as ``docker stats`` prints them, and how much its last digit is worth."""
    command = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", container.id]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.match(r"([\d.]+)([KMG]iB)", said)
    assert found is not None
    unit = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[found[2]]
    digits = len(found[1].partition(".")[2])
    return float(found[1]) * unit, unit * 10**-digits
