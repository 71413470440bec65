"""A host process: read from its own control group where it has one, else process by process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import requests
from conftest import Service

from infra.deployments.waiting import until_true

from _read_cgroup import CGROUP, CgroupReader
from _read_process import ProcessReader, process_reader

TREE = r"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass\ntime.sleep(60)"])
print(child.pid, flush=True)
input()
child.kill()
child.wait()
input()
"""
"""A process whose child uses half a second of CPU; at a first line it ends the child, at a second itself."""


ENTER = 'code=$1; python=$2; shift 2; for group; do echo $$ >"$group/cgroup.procs"; done; exec "$python" -c "$code"'


@contextmanager
def started(*groups: Path) -> Iterator[subprocess.Popen[str]]:
    """The tree, in these control groups from its first process on."""
    command = ["sh", "-c", ENTER, "enter", TREE, sys.executable, *map(str, groups)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_tree_keeps_the_cpu_time_of_a_child_that_has_ended() -> None:
    with started() as tree:
        assert tree.stdout is not None
        child = int(tree.stdout.readline())
        reader = ProcessReader(psutil.Process(tree.pid))

        def used() -> float:
            counters = reader.read()
            assert counters is not None
            return counters.cpu_seconds

        assert until_true(lambda: used() >= 0.4, 20)
        before = used()
        go_on(tree)
        assert until_true(lambda: not psutil.pid_exists(child), 20)
        assert used() >= before - 0.02  # the kernel counts in ticks
        go_on(tree)
        tree.wait(20)
        assert reader.read() is None


def test_memory_is_the_trees_proportional_share(shared_service: Service) -> None:
    reader = process_reader(psutil.Process(shared_service.process.pid))
    counters = reader.read()
    assert counters is not None
    assert 0.3 < counters.memory_bytes / psutil.Process(shared_service.process.pid).memory_info().rss <= 1
    assert counters.networks is None
    assert "PSS" in reader.sources["memory"]
    assert "network" not in reader.sources


@pytest.fixture
def own_group() -> Iterator[list[Path]]:
    """An empty control group of each kind that a service manager would make."""
    is_v2 = (CGROUP / "cgroup.controllers").exists()
    kinds = [""] if is_v2 else ["cpu", "cpuacct", "memory", "blkio", "pids"]
    folders = [CGROUP / kind / f"fourfold-test-{os.getpid()}" for kind in kinds]
    try:
        for folder in folders:
            folder.mkdir()
        if is_v2 and not (folders[0] / "memory.current").exists():
            pytest.skip("the kernel hands no memory controller down to new control groups")
        yield folders
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    finally:
        for folder in folders:
            if folder.is_dir():
                folder.rmdir()


def test_a_control_group_of_its_own_is_read(own_group: list[Path]) -> None:
    with started(*own_group) as tree:
        assert tree.stdout is not None
        tree.stdout.readline()
        reader = process_reader(psutil.Process(tree.pid))
        assert isinstance(reader, CgroupReader)

        def used() -> float:
            counters = reader.read()
            assert counters is not None
            assert counters.networks is None
            assert counters.memory_bytes > 1e6
            return counters.cpu_seconds

        assert until_true(lambda: used() >= 0.4, 20)
        sources = reader.sources
        assert sources["CPU"].startswith("cgroup v")
        reader.close()
        assert reader.sources == sources  # which the record of a run tells when it has ended
    assert until_true(lambda: not any((folder / "cgroup.procs").read_text() for folder in own_group), 10)


def test_a_control_group_that_others_share_is_not(shared_service: Service) -> None:
    assert requests.get(f"{shared_service.url}/health", timeout=10).ok
    assert isinstance(process_reader(psutil.Process(shared_service.process.pid)), ProcessReader)
