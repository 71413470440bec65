"""Three replicas behind one address, with and without a header that names them: both tell the same shares."""

from __future__ import annotations

import asyncio
import csv
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import OWN, ROOT, free_port
from forwarder import carry

from analysis.measure.balance import accepted, replica_shares
from analysis.read.runs import read_run
from infra.deployments.docker_engine import Engine
from infra.deployments.ready import until_ready
from runfiles.files import REQUESTS_SUFFIX

pytestmark = pytest.mark.engine

NAMES = [f"fourfold-nameless-{number}" for number in (1, 2, 3)]
USERS = 7
PROJECT = {"com.docker.compose.project": "fourfold-nameless", "com.docker.compose.service": "web"}


@pytest.fixture
def replicas(engine: Engine, service_image: str) -> Iterator[list[str]]:
    """The addresses of three replicas in networks of their own."""
    made = []
    try:
        for number, name in enumerate(NAMES, 1):
            container = engine.client.containers.run(
                service_image,
                name=name,
                detach=True,
                environment={"REPLICA_NAME": name},
                labels=PROJECT
                | {"com.docker.compose.oneoff": "False", "com.docker.compose.container-number": str(number)},
                ports={"5000/tcp": ("127.0.0.1", None)},
            )
            made.append(container)
        addresses = []
        for container in made:
            container.reload()
            address = container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
            until_ready(f"http://{address}:5000", OWN, 60, lambda: None)
            addresses.append(address)
        yield addresses
    finally:
        for container in made:
            container.remove(force=True, v=True)


@contextmanager
def dealer(addresses: list[str]) -> Iterator[str]:
    """A URL at which connections are dealt to these addresses in turn, as Swarm's mesh does."""
    port = free_port()
    turns = iter(range(10**9))
    loop = asyncio.new_event_loop()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(addresses[next(turns) % len(addresses)], 5000)
        await asyncio.gather(carry(reader, there[1]), carry(there[0], writer))

    async def close() -> None:
        """Take no more connections, and end those that are left."""
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(connect, "127.0.0.1", port))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def bytes_by_replica(rows: list[dict[str, str]]) -> dict[str, float]:
    """Each replica's share of the bytes that were asked and answered in the measured phase, by the answers' header."""
    passed: Counter[str] = Counter()
    for row in rows:
        if row["phase"] == "measured":
            passed[row["replica"]] += int(row["request_bytes"]) + int(row["response_bytes"])
    return {name: count / sum(passed.values()) for name, count in passed.items()}


@pytest.mark.parametrize("user_class", ["keep_alive", "new_connection"])
def test_connections_and_bytes_of_each_replica_are_known_without_its_name(
    replicas: list[str], tmp_path: Path, user_class: str
) -> None:
    service = tmp_path / "service.toml"
    headers = '{Content-Type = "application/json", Accept = "text/csv"}'
    service.write_text(f'image = "x"\nreplica_header = "X-Nobody"\n[request]\nheaders = {headers}\n')
    shares = {}
    for said in ("named", "nameless"):
        prefix = tmp_path / said
        command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / f"{user_class}.py"), "--headless"]
        command += [
            "-u",
            str(USERS),
            "-r",
            str(USERS),
            "-t",
            "4",
            "--replicas",
            "compose:fourfold-nameless/web",
            "--only-summary",
        ]
        command += ["--csv", str(prefix), "--warm-up", "1"]
        command += ["--service", str(service)] if said == "nameless" else []
        with dealer(replicas) as url:
            done = subprocess.run(
                [*command, "--host", url], env=os.environ, cwd=tmp_path, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, done.stderr
        run = read_run(tmp_path, said)
        assert run is not None
        shares[said] = replica_shares(run)
        with Path(f"{prefix}{REQUESTS_SUFFIX}").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        opened = Counter(row["replica"] for row in rows if row["connection_reused"] == "0")
        counted = accepted(run)
        # The end of the run cuts off a request of each user; one that opened a connection has no row.
        cut_off = USERS if user_class == "new_connection" else 0
        assert 0 <= counted.sum() - sum(opened.values()) <= cut_off
        if said == "named":
            assert all(0 <= counted[name] - opened[name] <= cut_off for name in NAMES)
            by_header = bytes_by_replica(rows)
            for share in shares["named"]:
                assert share.byte_share == pytest.approx(by_header[share.name], abs=0.01)
    assert [share.name for share in shares["nameless"]] == NAMES
    for share in shares["nameless"]:
        assert math.isnan(share.requests)
        assert math.isnan(share.request_share)
    assert sum(share.byte_share for share in shares["nameless"]) == pytest.approx(1)
    assert sum(share.connection_share for share in shares["nameless"]) == pytest.approx(1)
