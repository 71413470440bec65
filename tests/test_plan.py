"""Plans: what a file and the command line may say, and what is said of a slip."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from conftest import ROOT

from infra.errors import PlanError
from infra.experiment.capacity import Capacity
from infra.experiment.plan import Plan, plan_of, read_plan
from infra.experiment.progress import expected_s
from runfiles.records import PlanRecord


def test_the_plan_that_is_shipped_is_the_default() -> None:
    path = ROOT / "plans" / "default.toml"
    assert read_plan(path) == Plan() == read_plan(None)
    said = path.read_text(encoding="utf-8")
    keys = Plan.__dataclass_fields__.keys() - {"capacity", "grid", "changes"}
    assert all(f"{key} = " in said for key in keys)
    assert "[capacity]" in said
    assert "[grid]" in said
    assert "[[changes]]" in said


def test_the_plan_of_a_capacity_is_shipped_and_searches_in_the_time_that_it_names() -> None:
    path = ROOT / "plans" / "capacity.toml"
    plan = read_plan(path)
    assert plan.capacity == Capacity("p95 < 100 ms, failures < 0.1%", 3.0, 5.0, 5000.0)
    assert (plan.rounds, plan.locustfile, plan.deployments) == (3, "open_load", ("host", "docker", "compose"))
    assert 3 * 3 * (plan.search_s(3) / 0.75 + 12) == pytest.approx(13 * 60)
    assert read_plan(path, ["capacity.slo=p99 < 1 s", "rounds=2", "budget_minutes=60"]).capacity == Capacity(
        "p99 < 1 s", 3.0, 5.0, 5000.0
    )
    said = path.read_text(encoding="utf-8")
    assert all(f"{key} = " in said for key in Capacity.__dataclass_fields__)


def test_an_open_workload_is_a_rate_or_a_staircase() -> None:
    one = Plan(rate=50.0, user_class="new_connection", processes=2)
    assert one.locustfile == "open_load"
    said = " ".join(one.load_arguments)
    assert said == "--users 2 --spawn-rate 2 --seed 1 --rate 50.0 --arrivals poisson --connection new --processes 2"
    stairs = read_plan(None, ["rates=[20, 40, 80]", "seconds=4"])
    assert (stairs.blocks, stairs.block_s, stairs.load_s) == (3, 4.0, 12)
    auto = read_plan(None, ["rates=auto"]).rates
    assert (auto[0], auto[1], auto[-1]) == (10.0, 14.0, 10240.0)
    assert " ".join(Plan().load_arguments) == "--users 8 --spawn-rate 8 --seed 1"


def test_what_the_command_line_sets_takes_the_place_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('users = 4\ndeployments = ["docker", "host"]\ncpus = 2\nrequests = 500\n')
    plan = read_plan(path, ["users=16", "requests=none", "user_class=new_connection", "seed=0"])
    assert plan == Plan(
        deployments=("host", "docker"), users=16, cpus=2.0, requests=None, user_class="new_connection", seed=0
    )
    assert read_plan(path, ["deployments=swarm-3,compose"]).deployments == ("compose", "swarm-3")


def test_the_order_turns_round_by_round() -> None:
    plan = Plan(deployments=("host", "docker", "compose"))
    assert plan.order(0) == []
    assert plan.order(3) == [
        ["host", "docker", "compose"],
        ["compose", "docker", "host"],
        ["host", "docker", "compose"],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user = 3", "there is no key 'user'; did you mean users?"),
        ("rate = 0", "rate = 0 is not a number of requests per second from 0.1 to 100000; the default is none"),
        (
            "rates = [40, 20]",
            'rates = 40,20 is not a list of 1 to 100 rising rates, such as [20, 40, 80], or "auto"; the default is ',
        ),
        ("capacity = 5", 'capacity = 5 is not a table, such as [capacity] with slo = "p95 < 200 ms, failures < 0.1%"'),
        ("[capacity]", 'add slo = "p95 < 200 ms, failures < 0.1%"'),
        ('[capacity]\nslo = "p95 < 20"', "p95 < 20 has no unit; its unit is ms or s, such as p95 < 200 ms"),
        ('[capacity]\nslo = "p95 < 2 s"\ntolerence = 3', "there is no key 'tolerence'; did you mean tolerance?"),
        ("[load]\nusers = 3", "there is no key 'load'; a plan has deployments, layout, rounds, "),
        ("users = 0", "users = 0 is not a whole number from 1 to 1000; the default is 8"),
        ('users = "many"', 'users = "many" is not a whole number from 1 to 1000'),
        ("users = true", "users = True is not a whole number"),
        ("seconds = 2.5", "seconds = 2.5 is not a whole number from 1 to 3600"),
        ("cpus = nan", "cpus = nan is not a number of cores from 0.01 to 1024; the default is none"),
        ("memory_mb = 100", "memory_mb = 100 is not a whole number from 512"),
        ("requests = -1", "requests = -1 is not a whole number from 1"),
        (
            'deployments = ["pod"]',
            'deployments = "pod" is not a list of host, docker, docker-host-network, compose, compose-2 to compose-32,',
        ),
        ("deployments = []", "deployments = an empty list is not a list of host"),
        ('user_class = "patient"', 'user_class = "patient" is not keep_alive or new_connection'),
        ("users = ", "is not TOML: Invalid value (at end of document); correct that, and see plans/default.toml"),
        ("cpus = 1e400", "cpus = inf is not a number of cores from 0.01 to 1024"),
        ("cpus = -inf", "cpus = -inf is not a number of cores"),
        ("users = " + "9" * 5000, "is not TOML: Exceeds the limit"),
        ("users = 0x" + "f" * 5000, "users = a number beyond 64 bits is not a whole number"),
        ("users = {a = 0x" + "f" * 5000 + "}", "users = a table is not a whole number"),
        ("users = " + "[" * 10**5, "is not TOML: "),
        ('user_class = "\\u001b[2Jpatient\\n"', 'user_class = "patient" is not keep_alive'),
        ('"' + "k" * 10**5 + '" = 1', "there is no key 'kkkk"),
        ("users = 1\nusers = 2", "is not TOML: Cannot overwrite a value"),
        ("deployments = [[], {}, 1]", "is not a list of host, docker"),
        ("deployments = 1979-05-27", "deployments = 1979-05-27 is not a list of host"),
        ('layout = "rows"', 'layout = "rows" is not blocks or turns; the default is "blocks"'),
        ("layout = []", "layout = an empty list is not blocks or turns"),
        ("rounds = 0", "rounds = 0 is not a whole number from 1 to 100; the default is none"),
        ("precision = 0.4", "precision = 0.4 is not a percentage from 0.5 to 100; the default is 5.0"),
        ("precision = 101", "precision = 101 is not a percentage"),
        ('precision = "%"', 'precision = "%" is not a percentage'),
        ('precision = "nan%"', 'precision = "nan%" is not a percentage'),
        ('precision = "5"', 'precision = "5" is not a percentage'),
        ("precision = true", "precision = True is not a percentage"),
        (
            "budget_minutes = 0.4",
            "budget_minutes = 0.4 is not a number of minutes from 0.5 to 10080; the default is 6.0",
        ),
        ("budget_minutes = inf", "budget_minutes = inf is not a number of minutes"),
        ("block_s = 0.1", "block_s = 0.1 is not a number of seconds from 0.2 to 60; the default is 1.0"),
        ('block_s = "1"', 'block_s = "1" is not a number of seconds'),
        ("processes = 65", "processes = 65 is not a whole number from 1 to 64; the default is 1"),
        ("processes = 0", "processes = 0 is not a whole number"),
        (
            "generator_cpus = -1",
            "generator_cpus = -1 is not a set of processors, such as 0 or 0-1,3; the default is none",
        ),
        ("generator_cpus = 0.5", "generator_cpus = 0.5 is not a set of processors"),
        ("service_cpus = [0]", "service_cpus = 0 is not a set of processors"),
        ("service_cpus = true", "service_cpus = True is not a set of processors"),
        ("service_cpus = 0x" + "f" * 5000, "service_cpus = a number beyond 64 bits is not a set of processors"),
        ('service_cpus = "3-1"', 'service_cpus = "3-1" is not a set of processors'),
        ('service_cpus = ""', 'service_cpus = "" is not a set of processors'),
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
        ("users=", 'users = "" is not a whole number'),
        ("users=1\nseed=2", 'users = "1 seed=2" is not a whole number'),
        ("users=" + "9" * 5000, 'users = "9999'),
        ("users=0x" + "f" * 5000, "a number beyond 64 bits"),
        ("seconds=1e3", "seconds = 1000.0 is not a whole number"),
        ("cpus=nan", "cpus = nan is not a number of cores"),
        ("cpus=\udcff", 'cpus = "" is not a number of cores'),
        ("users=" + "[" * 10**5, "is not a whole number"),
    ],
)
def test_a_slip_on_the_command_line_is_told(override: str, expected: str) -> None:
    with pytest.raises(PlanError, match=re.escape(expected)):
        read_plan(None, [override])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["capacity.slo=p95 < 1 s", "deployments=host"], "a search needs 400 s of load; set budget_minutes = 28, or"),
        (["rate=5", "rates=[20]"], "rate and rates are both there; leave one of them out"),
        (["rates=[20]", "layout=turns"], 'rates and capacity need layout = "blocks": each rate has a block'),
        (["rate=5", "capacity.slo=p95 < 2 s"], "finds the rates itself; leave rate and rates out"),
        (["processes=9"], "processes = 9 is more than users = 8: a process would have no user"),
        (["cpus=1.5", "service_cpus=1"], "cpus = 1.5 is more than service_cpus = 1 has; leave cpus out, or name more"),
    ],
)
def test_values_that_can_t_be_true_together_are_told(overrides: list[str], expected: str) -> None:
    with pytest.raises(PlanError, match=re.escape(expected)):
        read_plan(None, overrides)


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("generator_cpus=0", "generator_cpus", "0"),
        ("service_cpus=0-1,3", "service_cpus", "0-1,3"),
        ("service_cpus=1,3", "service_cpus", "1,3"),
        ("service_cpus=none", "service_cpus", None),
        ("precision=5%", "precision", 5.0),
        ("precision=2.5", "precision", 2.5),
        ("rounds=none", "rounds", None),
        ("budget_minutes=10080", "budget_minutes", 10080.0),
        ("layout=turns", "layout", "turns"),
    ],
)
def test_what_the_command_line_may_say(override: str, key: str, expected: object) -> None:
    assert getattr(read_plan(None, [override]), key) == expected


def test_a_percentage_may_have_its_sign(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('precision = "2.5%"\ngenerator_cpus = 0\nservice_cpus = "1"\n')
    plan = read_plan(path)
    assert (plan.precision, plan.generator_cpus, plan.service_cpus) == (2.5, "0", "1")


@pytest.mark.parametrize(
    ("seconds", "warm_up_s", "block_s", "blocks", "warm_up_blocks"),
    [(10, 3, 1.0, 10, 3), (10, 3, 0.3, 33, 10), (1, 0, 1.0, 2, 0), (10, 1, 60.0, 2, 1), (3, 1, 0.2, 15, 5)],
)
def test_seconds_are_blocks(seconds: int, warm_up_s: int, block_s: float, blocks: int, warm_up_blocks: int) -> None:
    plan = Plan(seconds=seconds, warm_up_s=warm_up_s, block_s=block_s)
    assert (plan.blocks, plan.warm_up_blocks) == (blocks, warm_up_blocks)


@pytest.mark.parametrize(
    ("overrides", "block_s"), [((), 1.0), (("seconds=1",), 0.5), (("seconds=9", "block_s=60"), 4.5)]
)
def test_a_block_is_at_most_half_of_the_seconds(overrides: tuple[str, ...], block_s: float) -> None:
    plan = read_plan(None, overrides)
    assert plan.block_s == block_s
    assert plan.blocks * plan.block_s == plan.seconds


def test_a_record_holds_the_plan_that_was_carried_out() -> None:
    for plan in (Plan(), Plan(rounds=2, cpus=0.5, layout="turns", precision=2.5, generator_cpus="0")):
        assert plan_of(plan.record, "experiment.json") == plan


def test_an_earlier_version_measured_in_turns() -> None:
    record = PlanRecord(
        deployments=("host",),
        rounds=3,
        users=4,
        seconds=7,
        warm_up_s=5,
        rest_s=2,
        user_class="keep_alive",
        seed=1,
        memory_mb=2048,
    )
    assert record.layout is None
    expected = Plan(deployments=("host",), rounds=3, users=4, seconds=7, warm_up_s=5, layout="turns")
    assert plan_of(record, "experiment.json") == expected


def test_how_long_a_step_takes_is_known_from_its_like() -> None:
    plan = Plan(seconds=10, warm_up_s=5, rest_s=2)
    host, docker, both = frozenset({"host"}), frozenset({"docker"}), frozenset({"host", "docker"})
    guess = expected_s(host, {}, plan, {})
    assert guess > 17
    assert guess < expected_s(both, {}, plan, {}) < 2 * guess
    assert expected_s(host, {docker: [40.0, 60.0]}, plan, {}) == 50
    assert expected_s(host, {docker: [40.0], host: [20.0, 30.0]}, plan, {}) == 25
