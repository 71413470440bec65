"""The control group's own files against what the engine says of the same container."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cpu_loads import LOADS

from infra.deployments.docker_engine import Engine
from infra.deployments.waiting import until_true

import _read_cgroup
from _counters import Counters, counters_of, rates
from _read_cgroup import CgroupReader, NoCgroup, container_cgroup

RECORDED = Path(__file__).parent / "data" / "cgroup_v2"


def has_begun(container: Any) -> bool:
    """Its Python has started and is at its load, so that its memory stands still."""
    counters = reader(container).read()
    return counters is not None and counters.cpu_seconds > 0.5


@pytest.fixture(params=LOADS)
def container(engine: Engine, service_image: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    if engine.is_remote:
        pytest.skip(f"the engine at {engine.endpoint} is not on this machine")
    made = engine.client.containers.run(service_image, ["python", "-c", LOADS[request.param]], detach=True, init=True)
    try:
        made.reload()
        yield made
    finally:
        made.remove(force=True, v=True)


def asked(engine: Engine, container: Any) -> Counters:
    """What the engine says of it."""
    counters = counters_of(engine.client.api.stats(container.id, stream=False, one_shot=True))
    assert counters is not None
    return counters


def reader(container: Any) -> CgroupReader:
    try:
        pid = container.attrs["State"]["Pid"]
        return container_cgroup(pid, container.id, psutil.virtual_memory().total, has_network=True)
    except NoCgroup as error:
        pytest.skip(str(error))


@pytest.mark.engine
def test_both_say_the_same_of_cpu_memory_and_network(engine: Engine, container: Any) -> None:
    """What the engine says lies between what the files say just before and just after it, at two moments: so do the
    differences, which are the CPU time and the traffic in between."""
    files = reader(container)
    assert until_true(lambda: has_begun(container), 30)
    told = []
    for pause in (3.6, 0):
        before, said, after = files.read(), asked(engine, container), files.read()
        assert before is not None
        assert after is not None
        for counter in ("cpu_seconds", "memory_bytes", "block_read_bytes", "pids"):
            known = [getattr(reading, counter) or 0 for reading in (before, said, after)]
            assert min(known[0], known[2]) <= known[1] <= max(known[0], known[2]), counter
        for counter in ("net_rx_bytes", "net_tx_bytes", "net_rx_packets", "net_tx_packets"):
            passed = [getattr(reading, counter) or 0 for reading in (before, said, after)]
            assert passed == sorted(passed), counter
        told.append(said)
        time.sleep(pause)
    assert (rates(*told)["cpu_percent"] or 0) > 5


@pytest.mark.engine
def test_a_reader_of_another_container_is_refused(container: Any) -> None:
    reader(container)
    with pytest.raises(NoCgroup, match="is not theirs alone"):
        container_cgroup(container.attrs["State"]["Pid"], "0" * 64, None, has_network=True)


@pytest.mark.engine
def test_one_that_has_ended_reads_as_none(container: Any) -> None:
    files = reader(container)
    container.kill()
    container.wait()
    assert files.read() is None


def test_files_of_version_2_are_read_as_the_engine_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded on a machine with cgroup v2: the files of a replica, between two replies of its engine."""
    container_id, pid = "0" * 64, 7
    group = tmp_path / "cgroup" / "system.slice" / f"docker-{container_id}.scope"
    group.mkdir(parents=True)
    (tmp_path / "cgroup" / "cgroup.controllers").touch()
    for name in ("cpu.stat", "memory.current", "memory.stat", "io.stat", "pids.current"):
        shutil.copy(RECORDED / name, group)
    process = tmp_path / "proc" / str(pid)
    (process / "net").mkdir(parents=True)
    shutil.copy(RECORDED / "cgroup", process)
    shutil.copy(RECORDED / "net_dev", process / "net" / "dev")
    monkeypatch.setattr(_read_cgroup, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(_read_cgroup, "PROC", tmp_path / "proc")
    files = container_cgroup(pid, container_id, 2 * 1024**3, has_network=True)
    assert files.version == 2
    read = files.read()
    before, after = (
        counters_of(json.loads((RECORDED / f"stats_{when}.json").read_text())) for when in ("before", "after")
    )
    assert read is not None
    assert before is not None
    assert after is not None
    assert before.cpu_seconds < read.cpu_seconds < after.cpu_seconds
    assert read.memory_bytes == pytest.approx(before.memory_bytes, rel=0.03)
    assert read.memory_limit_bytes == before.memory_limit_bytes
    assert before.networks == read.networks == after.networks
    assert read.pids == before.pids
    assert read.throttled_seconds == before.throttled_seconds == 0
    (group / "io.stat").write_text("11:0 \n254:0 rbytes=4096 wbytes=512 rios=3 wios=9\n8:0 rbytes=1 wbytes=2\n")
    read = files.read()
    assert read is not None
    assert (read.block_read_bytes, read.block_write_bytes) == (4097, 514)
    shutil.rmtree(process)
    assert files.read() is None
