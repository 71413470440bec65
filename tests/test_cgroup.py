"""The control group's own files against what the engine says of the same container."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cpu_loads import LOADS

from infra.deployments.docker_engine import Engine
from infra.deployments.waiting import until_true

from _counters import Counters, counters_of, rates
from _read_cgroup import VERSIONS, CgroupReader, NoCgroup, Roots, container_cgroup

DATA = Path(__file__).parent / "data"


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
        for counter in ("cpu_seconds", "memory_bytes", "memory_cache_bytes", "block_read_bytes", "pids"):
            known = [getattr(reading, counter) or 0 for reading in (before, said, after)]
            assert min(known[0], known[2]) <= known[1] <= max(known[0], known[2]), counter
        for counter in ("net_rx_bytes", "net_tx_bytes", "net_rx_packets", "net_tx_packets"):
            passed = [getattr(reading, counter) or 0 for reading in (before, said, after)]
            assert passed == sorted(passed), counter
        told.append(said)
        time.sleep(pause)
    assert (rates(*told)["cpu_percent"] or 0) > 1


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


Recorded = tuple[CgroupReader, Path, Path]


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[int], Recorded]:
    """The recorded files of a replica of one version in their places: their reader, a folder that holds the group's
    files, and that of the process."""

    def placed(version: int) -> Recorded:
        container_id, pid = "0" * 64, 7
        data = DATA / f"cgroup_v{version}"
        groups, process = tmp_path / "cgroup", tmp_path / "proc" / str(pid)
        (process / "net").mkdir(parents=True)
        shutil.copy(data / "cgroup", process)
        shutil.copy(data / "net_dev", process / "net" / "dev")
        shutil.copy(data / "net_snmp", process / "net" / "snmp")
        path = (data / "cgroup").read_text().splitlines()[-1].split(":", 2)[2].lstrip("/")
        for place in VERSIONS[version].files.values():
            controller, _, name = place.rpartition("/")
            (groups / controller / path).mkdir(parents=True, exist_ok=True)
            shutil.copy(data / name, groups / controller / path)
        if version == 2:
            (groups / "cgroup.controllers").touch()
        roots = Roots(tmp_path / "proc", groups)
        return container_cgroup(pid, container_id, 2 * 1024**3, has_network=True, roots=roots), groups / path, process

    return placed


@pytest.mark.parametrize("version", [1, 2])
def test_recorded_files_are_read_as_the_engine_reads_them(recorded: Callable[[int], Recorded], version: int) -> None:
    """Recorded on a machine of each version: the files of a replica, between two replies of its engine."""
    reader_of_files, _, process = recorded(version)
    assert reader_of_files.version == version
    read = reader_of_files.read()
    before, after = (
        counters_of(json.loads((DATA / f"cgroup_v{version}" / f"stats_{when}.json").read_text()))
        for when in ("before", "after")
    )
    assert read is not None
    assert before is not None
    assert after is not None
    assert before.cpu_seconds <= read.cpu_seconds <= after.cpu_seconds
    assert read.memory_bytes == pytest.approx(before.memory_bytes, rel=0.03)
    assert before.networks == read.networks == after.networks
    assert read.memory_cache_bytes == before.memory_cache_bytes == {1: 5_009_408, 2: 0}[version]
    assert read.pids == before.pids
    assert read.throttled_seconds == before.throttled_seconds == 0
    assert (read.connections_accepted, before.connections_accepted) == (3, None)  # the engine does not tell
    shutil.rmtree(process)
    assert reader_of_files.read() is None


def test_recorded_files_of_version_2_tell_limits_and_block_io(recorded: Callable[[int], Recorded]) -> None:
    reader_of_files, group, _ = recorded(2)
    said = counters_of(json.loads((DATA / "cgroup_v2" / "stats_before.json").read_text()))
    read = reader_of_files.read()
    assert read is not None
    assert said is not None
    assert said.cpu_seconds < read.cpu_seconds
    assert read.memory_limit_bytes == said.memory_limit_bytes
    (group / "io.stat").write_text("11:0 \n254:0 rbytes=4096 wbytes=512 rios=3 wios=9\n8:0 rbytes=1 wbytes=2\n")
    read = reader_of_files.read()
    assert read is not None
    assert (read.block_read_bytes, read.block_write_bytes) == (4097, 514)
    (group / "memory.stat").write_text("anon 28721152\nfile 4096\nfile_mapped 1024\ninactive_file 512\n")
    read = reader_of_files.read()
    assert read is not None
    assert read.memory_cache_bytes == 4096
