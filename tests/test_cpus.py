"""CPU sets: how they are written, who can't be pinned, and that each deployment runs where it was told to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import requests
from conftest import ROOT, free_port

from infra.deployments import host
from infra.deployments.compose import why_no_compose
from infra.deployments.cpus import cpuset, preexec_pin, shown, why_containers_not_pinned, why_not_pinned
from infra.deployments.docker_engine import Engine
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, why_not
from runfiles.events import PROCESS
from runfiles.records import Limits

COUNT_THREADS = ["-c", "from inference.engines.processors import compute_threads; print(compute_threads())"]
"""How many threads the service computes with: one for each processor that it may use."""

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins processes")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", {0}), ("0-1,3", {0, 1, 3}), ("7,2", {2, 7}), ("4-4", {4}), ("0,0-2", {0, 1, 2}), ("8191", {8191})],
)
def test_a_cpu_set_is_written_as_the_kernel_docker_and_taskset_write_it(text: str, numbers: set[int]) -> None:
    assert cpuset(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "-1", "0-", "1,", "0 1", "0, 1", "0-1-2", "1.5", "0x1", "٣", "9" * 30])
def test_what_is_no_cpu_set_is_told_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a set of processors, such as 0 or 0-1,3$"):
        cpuset(text)


@pytest.mark.parametrize(("text", "slip"), [("3-1", "from the lower number to the higher"), ("0-99999", "below 8192")])
def test_a_range_that_is_a_slip_is_told_as_one(text: str, slip: str) -> None:
    with pytest.raises(ValueError, match=slip):
        cpuset(text)


@pytest.mark.parametrize(("numbers", "text"), [({0}, "0"), ({0, 1, 2, 5}, "0-2,5"), ({3, 1}, "1,3")])
def test_a_cpu_set_is_shown_as_it_is_written(numbers: set[int], text: str) -> None:
    assert shown(numbers) == text
    assert cpuset(text) == numbers


@linux
def test_a_processor_that_is_not_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 6})
    assert why_not_pinned("0-2") is None
    assert why_not_pinned("1-4,6") == (
        "there is no processor 3-4 of 1-4,6; this process may use 0-2,6; choose from these and run again"
    )


def test_a_system_that_can_not_pin_is_a_reason_only_if_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    assert why_not_pinned(None) is None
    assert "can't pin a process to the processors 0, only Linux can; leave generator_cpus" in str(why_not_pinned("0"))
    assert "can't pin a process" in str(why_not("host", Settings(ports={"host": free_port()}, service_cpus="0")))


def engine_that(cpu_count: int | None, **about: Any) -> Engine:
    """An engine as it describes itself."""
    client = SimpleNamespace(info=lambda: about)
    return SimpleNamespace(client=client, cpu_count=cpu_count)  # type: ignore[return-value]


def test_an_engine_without_the_processor_or_without_cpusets_is_a_reason() -> None:
    assert why_containers_not_pinned(None, engine_that(1, CPUSet=False)) is None
    assert why_containers_not_pinned("0-1", engine_that(2, CPUSet=True)) is None
    assert why_containers_not_pinned("7", engine_that(None)) is None  # the engine itself will say so
    assert str(why_containers_not_pinned("1-2", engine_that(2, CPUSet=True))).startswith(
        "there is no processor 2 of 1-2; the engine's machine has 0-1; choose from these"
    )
    assert "lacks the cpuset control group" in str(why_containers_not_pinned("0", engine_that(2, CPUSet=False)))


@linux
def test_a_new_process_is_pinned_and_the_one_that_starts_it_is_not() -> None:
    mine = os.sched_getaffinity(0)
    last = str(max(mine))
    asks = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
    for cpus, expected in ((last, [max(mine)]), (None, sorted(mine))):
        said = subprocess.run(asks, preexec_fn=preexec_pin(cpus), capture_output=True, text=True, check=True)
        assert said.stdout == f"{expected}\n"
    assert os.sched_getaffinity(0) == mine
    counts = subprocess.run(
        [sys.executable, *COUNT_THREADS], cwd=ROOT, preexec_fn=preexec_pin(last), capture_output=True, check=True
    )
    assert counts.stdout == b"1\n"


@linux
def test_the_host_process_is_pinned_with_all_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "STATE", tmp_path / "host.json")
    last = max(os.sched_getaffinity(0))
    settings = Settings(ports={"host": free_port()}, service_cpus=str(last))
    try:
        service = BY_NAME["host"].start(settings, tmp_path)
        assert service.limits == Limits(cpuset=str(last))
        url = BY_NAME["host"].facts.url(settings)
        assert requests.post(f"{url}/infer", json={"text": "fine"}, timeout=10).ok
        process = psutil.Process(int(service.replicas.removeprefix(f"{PROCESS}:")))
        threads = [thread.id for thread in process.threads()]
        assert [os.sched_getaffinity(thread) for thread in threads] == [{last}] * len(threads)
    finally:
        BY_NAME["host"].remove(settings)
    assert "ended" in str(service.gone())


@pytest.mark.engine
@pytest.mark.parametrize("name", ["docker", "docker-host-network", "compose"])
def test_a_container_is_pinned_by_the_engine(
    engine: Engine, service_image: str, bystanders: list[str], tmp_path: Path, name: str
) -> None:
    deployment = BY_NAME[name]
    reason = why_no_compose(engine) if name == "compose" else None
    if reason or engine.is_remote or (engine.cpu_count or 1) < 2:
        pytest.skip(reason or "this needs an engine of this machine with two processors")
    settings = Settings(ports={deployment.facts.kind: free_port()}, service_cpus="1")
    assert why_not(name, settings) is None
    try:
        service = deployment.start(settings, tmp_path)
        assert service.limits.cpuset == "1"
        container = next(found for found in engine.client.containers.list() if found.name != "bystander")
        allowed = container.exec_run(["grep", "Cpus_allowed_list", "/proc/self/status"]).output.decode()
        assert allowed.split() == ["Cpus_allowed_list:", "1"]
        assert container.exec_run(["python", *COUNT_THREADS]).output == b"1\n"
    finally:
        deployment.remove(settings)


@pytest.mark.engine
@pytest.mark.parametrize("name", ["docker", "docker-host-network", "compose"])
def test_a_processor_that_the_engine_s_machine_lacks_is_a_reason(engine: Engine, service_image: str, name: str) -> None:
    settings = Settings(ports={BY_NAME[name].facts.kind: free_port()}, service_cpus="0,4000")
    assert "there is no processor 4000 of 0,4000; the engine's machine has 0" in str(why_not(name, settings))


@pytest.mark.engine
def test_swarm_can_not_pin_its_replicas(engine: Engine) -> None:
    reason = why_not("swarm-3", Settings(ports={"swarm": free_port()}, service_cpus="0"))
    assert reason == (
        "Swarm has no option to pin its replicas to the processors 0; "
        "leave service_cpus out, or leave Swarm out (--only), and run again"
    )
