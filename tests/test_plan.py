"""Plans: what a file and the command line may say, and what is said of a slip."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import ROOT

from infra.errors import PlanError
from infra.experiment.plan import Plan, plan_of, read_plan
from infra.experiment.progress import expected_s
from runfiles.records import PlanRecord


def test_the_plan_that_is_shipped_is_the_default() -> None:
    path = ROOT / "plans" / "default.toml"
    assert read_plan(path) == Plan() == read_plan(None)
    said = path.read_text(encoding="utf-8")
    assert all(f"{key} = " in said for key in Plan.__dataclass_fields__)


def test_what_the_command_line_sets_takes_the_place_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('users = 4\ndeployments = ["docker", "host"]\ncpus = 2\nrequests = 500\n')
    plan = read_plan(path, ["users=16", "requests=none", "user_class=new_connection", "seed=0"])
    assert plan == Plan(
        deployments=("host", "docker"), users=16, cpus=2.0, requests=None, user_class="new_connection", seed=0
    )
    assert read_plan(path, ["deployments=swarm-3,compose"]).deployments == ("compose", "swarm-3")


def test_the_order_turns_round_by_round() -> None:
    plan = Plan(deployments=("host", "docker", "compose"), rounds=3)
    assert plan.order() == [
        ["host", "docker", "compose"],
        ["compose", "docker", "host"],
        ["host", "docker", "compose"],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user = 3", "there is no key 'user'; did you mean users?"),
        ("[load]\nusers = 3", "there is no key 'load'; a plan has deployments, rounds, "),
        ("users = 0", "users = 0 is not a whole number from 1 to 1000; the default is 8"),
        ('users = "many"', "users = many is not a whole number from 1 to 1000"),
        ("users = true", "users = True is not a whole number"),
        ("seconds = 2.5", "seconds = 2.5 is not a whole number from 1 to 3600"),
        ("cpus = nan", "cpus = nan is not a number of cores from 0.01 to 1024; the default is none"),
        ("memory_mb = 100", "memory_mb = 100 is not a whole number from 512"),
        ("requests = -1", "requests = -1 is not a whole number from 1"),
        (
            'deployments = ["pod"]',
            "deployments = pod is not a list of host, docker, docker-host-network, compose, swarm-1, swarm-3",
        ),
        ("deployments = []", "deployments =  is not a list of host"),
        ('user_class = "patient"', "user_class = patient is not keep_alive or new_connection"),
        ("users = ", "is not TOML: Invalid value (at end of document); mend that, and see plans/default.toml"),
        ("cpus = 1e400", "cpus = inf is not a number of cores from 0.01 to 1024"),
        ("cpus = -inf", "cpus = -inf is not a number of cores"),
        ("users = " + "9" * 5000, "is not TOML: Exceeds the limit"),
        ("users = 0x" + "f" * 5000, "users = a number beyond 64 bits is not a whole number"),
        ("users = {a = 0x" + "f" * 5000 + "}", "users = a table is not a whole number"),
        ("users = " + "[" * 10**5, "is not TOML: "),
        ('user_class = "\\u001b[2Jpatient\\n"', "user_class = patient is not keep_alive"),
        ('"' + "k" * 10**5 + '" = 1', "there is no key 'kkkk"),
        ("users = 1\nusers = 2", "is not TOML: Cannot overwrite a value"),
        ("deployments = [[], {}, 1]", "is not a list of host, docker"),
        ("deployments = 1979-05-27", "deployments = 1979-05-27 is not a list of host"),
    ],
)
def test_a_slip_in_a_plan_is_told_with_file_key_and_remedy(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(PlanError) as told:
        read_plan(path)
    assert str(path) in str(told.value)
    assert expected in str(told.value)
    assert len(str(told.value)) < 1000


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"there is no plan .*plan\.toml; plans/default\.toml is one to start from"):
        read_plan(tmp_path / "plan.toml")
    with pytest.raises(PlanError, match="can't be read"):
        read_plan(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError, match="is not TOML"):
        read_plan(tmp_path / "bytes.toml")


def test_what_is_no_file_or_too_large_for_a_plan_is_told_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.toml")
    with (tmp_path / "huge.toml").open("wb") as file:
        file.truncate(20 * 10**9)
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    for path, expected in (
        (tmp_path / "fifo.toml", "it is not a file"),
        (Path("/dev/zero"), "it is not a file"),
        (tmp_path / "huge.toml", "it is larger than 1 MB"),
        (tmp_path / "loop.toml", "symbolic links"),
    ):
        with pytest.raises(PlanError, match=f"{path} can't be read .*{expected}"):
            read_plan(path)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("users", "--set users: this is not KEY=VALUE"),
        ("plans/default.toml", "a plan's file goes first"),
        ("users=none", "--set: users = none is not a whole number"),
        ("round=3", "did you mean rounds?"),
        ("=3", "there is no key ''"),
        ("users=", "users =  is not a whole number"),
        ("users=1\nseed=2", "users = 1 seed=2 is not a whole number"),
        ("users=" + "9" * 5000, "users = 9999"),
        ("users=0x" + "f" * 5000, "a number beyond 64 bits"),
        ("seconds=1e3", "seconds = 1000.0 is not a whole number"),
        ("cpus=nan", "cpus = nan is not a number of cores"),
        ("cpus=\udcff", "cpus =  is not a number of cores"),
        ("users=" + "[" * 10**5, "is not a whole number"),
    ],
)
def test_a_slip_on_the_command_line_is_told(override: str, expected: str) -> None:
    with pytest.raises(PlanError, match=re.escape(expected)):
        read_plan(None, [override])


def test_a_record_holds_the_plan_that_was_carried_out() -> None:
    plan = Plan(rounds=2, cpus=0.5)
    assert plan_of(PlanRecord(**asdict(plan)), "experiment.json") == plan


def test_how_long_a_round_takes_is_known_from_its_like() -> None:
    plan = Plan(seconds=10, warm_up_s=5, rest_s=2)
    guess = expected_s("host", {}, plan)
    assert guess > 17
    assert expected_s("host", {"docker": [40.0, 60.0]}, plan) == 50
    assert expected_s("host", {"docker": [40.0], "host": [20.0, 30.0]}, plan) == 25
