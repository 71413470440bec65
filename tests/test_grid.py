"""A grid: what a plan may say of it, which cells it has, and that they are measured in interleaved rounds."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, free_port
from test_infra import infra, said_by

from infra.deployments.waiting import until_true
from infra.errors import PlanError
from infra.experiment.cells import cells_of, in_words
from infra.experiment.grid import Grid
from infra.experiment.plan import Plan, read_plan
from runfiles.grid import GridCell, GridRecord


def cells(
    *overrides: str, deployments: str = "docker,compose,swarm-1"
) -> tuple[list[tuple[GridCell, Plan]], list[str]]:
    plan = read_plan(None, overrides, deployments)
    assert plan.grid is not None
    return cells_of(plan, plan.grid)


def test_the_plan_of_a_grid_is_shipped() -> None:
    path = ROOT / "plans" / "grid.toml"
    plan = read_plan(path)
    assert plan.grid == Grid((1, 2, 3), (0.5, 1.0), (), (8,), (), "p95 < 200 ms, failures < 1%")
    said = path.read_text(encoding="utf-8")
    assert all(f"{key} = " in said for key in Grid.__dataclass_fields__)
    assert plan.record == read_plan(path, ["grid=none"]).record  # what a cell's record holds has no grid


def test_each_value_is_combined_with_each_other() -> None:
    found, left_out = cells("grid.replicas=[3, 1]", "grid.cpus=[1, 0.5]", "grid.users=[4, 8]", "rounds=5")
    assert [cell.folder for cell, _ in found] == [
        f"{replicas}-{cpus}-cpus-{users}-users"
        for replicas in ("1-replica", "3-replicas")
        for cpus in ("0.5", "1")
        for users in (4, 8)
    ]
    assert {cell.deployments for cell, _ in found if cell.replicas == 1} == {("docker", "compose", "swarm-1")}
    assert {cell.deployments for cell, _ in found if cell.replicas == 3} == {("compose-3", "swarm-3")}
    for cell, plan in found:
        assert (plan.deployments, plan.cpus, plan.users, plan.rounds) == (cell.deployments, cell.cpus, cell.users, 5)
        assert plan.grid is None
    assert left_out == ["docker run: measured with one replica only, as it can't have more"]
    assert in_words(found[0][0]) == "1 replica of 0.5 CPU, 2048 MiB, 4 users"


def test_the_host_process_has_no_limits_and_is_measured_once_for_each_load() -> None:
    found, left_out = cells("grid.cpus=[0.5, 1]", "grid.rate=[20, 40]", deployments="host,docker")
    assert [(cell.cpus, cell.rate, cell.deployments) for cell, _ in found] == [
        (0.5, 20.0, ("host", "docker")),
        (0.5, 40.0, ("host", "docker")),
        (1.0, 20.0, ("docker",)),
        (1.0, 40.0, ("docker",)),
    ]
    assert left_out == ["Host process: measured once for each load, as it has no limits"]
    assert found[0][0].folder == "1-replica-0.5-cpus-20-per-second"


def test_without_one_replica_a_single_container_is_in_no_cell() -> None:
    _, left_out = cells("grid.replicas=[2]", deployments="docker,compose")
    assert left_out == ["docker run: not measured, as it has one replica, and replicas has no 1"]
    expected = "no deployment of the plan (docker) can have 2 replicas; add 1 to replicas"
    with pytest.raises(PlanError, match=re.escape(expected)):
        cells("grid.replicas=[2]", deployments="docker")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["grid.replicas=[]"], "replicas = an empty list is not a list with at least one number"),
        (["grid.replicas=3"], "replicas = 3 is not a list, such as [1, 2, 3]"),
        (["grid.replicas=[0, 1]"], "each of them a whole number from 1 to 32"),
        (["grid.replicas=[1, 1]"], "in which no value comes twice"),
        (["grid.cpus=[x]"], "cpus = "),
        (["grid.cpu=[1]"], "there is no key 'cpu'; did you mean cpus?"),
        (["grid.users=[4]", "grid.rate=[4]"], "users and rate are both in it; leave one of them out"),
        (["grid.slo=p95"], "p95 is no condition"),
        (["grid=3"], "is not a table, such as [grid] with replicas = [1, 2, 3]"),
        (["grid.users=[4]", "rate=5"], "grid.users and rate are both there"),
        (["grid.users=[4]", "rates=[4, 8]"], "a grid has one load in each cell; leave rates and capacity out"),
        (["grid.users=[4]", "capacity.slo=p95 < 1 s"], "a grid has one load in each cell"),
        (
            [f"grid.{key}=[{','.join(map(str, range(2100, 2116)))}]" for key in ("memory_mb", "rate")],
            "[grid]: it has 256 cells, more than 200; leave out some values",
        ),
    ],
)
def test_slips_are_named(overrides: list[str], expected: str) -> None:
    with pytest.raises(PlanError, match=re.escape(expected)):
        read_plan(None, overrides)


def test_limits_that_can_not_be_are_refused_before_anything_starts() -> None:
    with pytest.raises(PlanError, match="cpus = 4 is more than service_cpus = 0 has"):
        cells("grid.cpus=[0.5, 4]", "service_cpus=0")


@pytest.mark.parametrize("folder", ["..", "a/b", "."])
def test_a_record_that_leads_elsewhere_is_refused(folder: str) -> None:
    cell = GridCell(folder=folder, replicas=1, memory_mb=2048, users=1, deployments=("host",))
    record = GridRecord(started_at="2026-01-31T12:00:00+00:00", command="x", rounds=1, cells=(cell,))
    with pytest.raises(ValueError, match="which is no name of a folder"):
        GridRecord.from_json(json.loads(record.text()))


def experiment(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / "experiment.json").read_text())
    return said


@pytest.mark.slow
def test_rounds_are_interleaved_and_a_grid_that_was_interrupted_is_continued(tmp_path: Path) -> None:
    service = tmp_path / "service.toml"
    app = ROOT / "tests" / "apps" / "small_app.py"
    service.write_text(f'command = "python {app}"\nport_variable = "PORT"\n[environment]\nMODE = "one at a time"\n')
    results = tmp_path / "results"
    options = ["--service", str(service), "--port", f"host={free_port()}", "--results", str(results), "--only", "host"]
    settings = ["grid.users=[1, 4]", "rounds=2", "seconds=1", "warm_up_s=0", "rest_s=0", "grid.slo=p95 < 1 s"]
    begun = infra("run", *options, "--set", *settings)
    assert until_true(lambda: bool(list(results.glob("*/1-replica-4-users/host/round-1/load_run.json"))), 90)
    begun.send_signal(signal.SIGINT)
    said = said_by(begun)
    assert begun.returncode == 130, said
    assert "Fourfold measures a grid of 2 cells in 2 rounds" in said
    assert "interrupted: what was started has been removed, what was measured is kept" in said
    (folder,) = results.iterdir()
    one, four = folder / "1-replica-1-users", folder / "1-replica-4-users"
    assert [each["status"] for each in experiment(one)["deployments"][0]["rounds"]] == ["measured", "not run"]
    first = (one / "host/round-1/load_requests.csv").read_bytes()

    again = infra("run", "--resume", str(folder))
    said = said_by(again)
    assert again.returncode in (0, 3), said
    assert (one / "host/round-1/load_requests.csv").read_bytes() == first
    began = {
        each["started_at"]: (cell.name, each["number"])
        for cell in (one, four)
        for each in experiment(cell)["deployments"][0]["rounds"]
    }
    order = [began[at] for at in sorted(began)]
    assert order == [(one.name, 1), (four.name, 1), (four.name, 2), (one.name, 2)]
    record = GridRecord.read(folder / "grid.json")
    assert record.ended_at is not None
    assert len(record.resumed_at) == 1
    assert "nothing is left to measure" in said_by(infra("run", "--resume", str(folder)))
    said = said_by(infra("run", "--resume", str(folder), "--set", "users=2"))
    assert "--resume takes plan, image, ports and all else from the experiment's folder" in said
