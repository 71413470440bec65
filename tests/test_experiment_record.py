"""Records of experiments that were cut off, edited or made by somebody else, and folders with links in them: an
experiment is not continued from them, one reason says why, and nothing is read, written or deleted elsewhere."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import OWN, OWN_RECORD
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra import alone
from infra.deployments.images import _succeeds
from infra.deployments.table import PORTS
from infra.errors import DeploymentError, RecordError, ResumeError
from infra.experiment import experiment
from infra.experiment.blocks import measure_group
from infra.experiment.circumstances import Circumstances
from infra.experiment.experiment import Experiment, resume
from infra.experiment.groups import Memory, grouped
from infra.experiment.journal import Journal, Step
from infra.experiment.plan import Plan
from infra.experiment.turns import measure_turn
from runfiles.events import CUT_OFF
from runfiles.machines import DockerEngine, Machine
from runfiles.records import GitState, Image, Model, Options

MODEL = Model(name="m", source="hub", sha256="a" * 64)
HERE = Circumstances(Machine(cpu_model="this"), GitState(commit="b"), {"python": "2"}, {})
THEN = Circumstances(
    Machine(cpu_model="that"),
    GitState(commit="a"),
    {"python": "1"},
    {"I": "x"},
    DockerEngine(endpoint="unix:///docker.sock", version="1", kernel="1"),
    MODEL,
)
IMAGE = Image(name="i", id="sha256:1", bytes=1)
ROUND = ["deployments", 0, "rounds", 0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment under other circumstances than ``HERE``: its first round is measured, its second was cut off."""
    folder = tmp_path_factory.mktemp("results")
    options = Options(
        service=str(OWN.path), image="i", build=False, ports=PORTS, reach={"swarm": "server:80"}, start_timeout_s=5.0
    )
    plan = Plan(deployments=("host", "docker"), rounds=2, layout="turns")
    journal = Journal.begin(folder, plan, "x", THEN, options, OWN_RECORD)
    journal.note_deployment("docker", image=IMAGE)
    journal.note_round("host", 1, status="measured", reason=None, seconds_to_healthy=1.5)
    journal.note_round("host", 1, runs=("single_pass", "load"), metrics_files=("host/round-1/m.csv",))
    journal.note_round("host", 2, status="failed", reason=CUT_OFF)
    for number in (1, 2):
        (folder / "host" / f"round-{number}").mkdir(parents=True)
        (folder / "host" / f"round-{number}" / "file").write_text("measured")
    return folder


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is read as an experiment is one of other circumstances. The locks are the test's own: nothing here runs,
    so what runs elsewhere from this folder goes on."""
    monkeypatch.setattr(alone, "CHECKOUT_LOCK", tmp_path / "locks" / "checkout.lock")
    monkeypatch.setattr(alone, "MACHINE_LOCK", str(tmp_path / "locks" / "machine.lock"))

    def connect() -> None:
        raise DeploymentError("there is no engine here")

    monkeypatch.setattr(experiment, "circumstances_here", lambda: HERE)
    monkeypatch.setattr(experiment, "connect", connect)
    monkeypatch.setattr(Experiment, "_model", lambda _: MODEL)


def what_is_in(folder: Path) -> dict[Path, tuple[int, int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def told(folder: Path) -> str:
    """Why the experiment is not continued: one line that names the folder."""
    before = what_is_in(folder)
    with pytest.raises(ResumeError) as raised:
        resume(folder)
    assert what_is_in(folder) == before
    said = str(raised.value)
    assert str(folder) in said
    assert len(said) < 1500
    assert said.isprintable()
    return said


def write(folder: Path, content: Any) -> None:
    (folder / "experiment.json").write_text(json.dumps(content))


def at(content: Any, place: list[Any]) -> Any:
    for key in place:
        content = content[key]
    return content


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (["options", "ports"], {"host": 0}, "options.ports.host is 0, which is not between 1 and 65,535"),
        (["options", "ports"], {}, "options.ports has no port for host, docker"),
        (["options", "ports", "host"], True, "options.ports.host is True, which is no whole number"),
        (["options", "reach"], {"swarm": "server"}, "options.reach.swarm is 'server', which is no HOST:PORT"),
        (["options", "start_timeout_s"], -1, "options.start_timeout_s is -1, which is not between 0 and 86,400"),
        (["options", "start_timeout_s"], 0, "options.start_timeout_s is 0"),
        (
            ["options", "reach"],
            {"swarm": "server:99999"},
            "options.reach.swarm is 'server:99999', which is no HOST:PORT",
        ),
        (["options", "reach"], {"pod": "server:80"}, "options.reach has 'pod', which is none of host, docker, "),
        (["options", "image"], "a\nb", "options.image is 'a\\nb', which is no name"),
        (["options", "image"], ["i"], "options.image is ['i'], which is no text"),
        (["options", "image"], "i" * 10**6, "options.image is 'iiiiii"),
        (["rate"], 5, "'rate' is a key that this version does not know"),
        (["plan", "speed"], 5, "plan.'speed' is a key that this version does not know"),
        ([*ROUND, "rate"], 5, "rounds number 1: 'rate' is a key that this version does not know"),
        (["options"], None, "options is missing"),
        (["started_at"], "2026-01-01T00:00:00", "started_at is '2026-01-01T00:00:00', which is a time without its"),
        (["started_at"], "yesterday", "started_at is 'yesterday', which is no time"),
        (["resumed_at"], [0], "resumed_at number 1 is 0, which is no text"),
        (["plan", "users"], 0, "plan: users = 0 is not a whole number from 1 to 1000"),
        (["plan", "rounds"], 3, "order is not that of its plan"),
        (["plan", "precision"], None, "plan.precision is None, which is not understood"),
        (["plan", "layout"], "rows", "plan.layout is 'rows', which is none of blocks, turns"),
        (["plan", "layout"], None, "plan.layout is None, which is not understood"),
        (["plan", "generator_cpus"], "x", 'plan: generator_cpus = "x" is not a set of processors'),
        (["plan", "processes"], 9, "processes = 9 is more than users = 8"),
        (["groups"], [["host"]], "groups is not empty, though the deployments are measured in turns"),
        (["stopped_by"], "a whim", "stopped_by is 'a whim', which is none of precision, budget"),
        (
            ["blank"],
            {"status": "measured", "reason": None, "folder": "../x", "answer_bytes": 1},
            "blank.folder is '../x', not blank",
        ),
        ([*ROUND, "group"], 1, "group of round 1 of host is 1, which is not its first group"),
        ([*ROUND, "reference_in"], [2], "reference_in of round 1 of host names 2, in which it is no reference"),
        (["order"], [["host", "docker"]], "order is not that of its plan"),
        (["machine"], [], "machine is [], which is no table"),
        (["model"], "m", "model is 'm', which is no table"),
        (["deployments", 1, "name"], "host", "the names in deployments are ['host', 'host', "),
        (["deployments", 0, "name"], "pod", "the names in deployments are ['pod', 'docker', "),
        (["deployments", 0, "status"], {}, "deployments number 1: status is {}, which is no text"),
        (["deployments", 0, "status"], "fine", "status is 'fine', which is none of measured, failed, not run"),
        (["deployments", 0, "rounds"], [], "the rounds of host are [], not 1, 2, each once"),
        (["deployments", 1, "image", "id"], 1, "deployments number 2: image.id is 1, which is no text"),
        ([*ROUND, "number"], 2, "the rounds of host are [2, 2], not 1, 2, each once and in this order"),
        ([*ROUND, "number"], 10**18 + 1, "rounds number 1: number is 1000000000000000001, which is no"),
        ([*ROUND, "folder"], "host/round-2", "folder of round 1 of host is 'host/round-2', not host/round-1"),
        ([*ROUND, "folder"], "../elsewhere", "folder of round 1 of host is '../elsewhere', not host/round-1"),
        ([*ROUND, "folder"], "/", "folder of round 1 of host is '/', not host/round-1"),
        ([*ROUND, "metrics_files"], ["host/round-1/../../x"], "metrics_files of round 1 of host names"),
        ([*ROUND, "metrics_files"], ["/etc/passwd"], "metrics_files of round 1 of host names '/etc/passwd'"),
        ([*ROUND, "runs"], ["load"], "runs of round 1 of host is ['load'], not single_pass and then load"),
        ([*ROUND, "runs"], [], "runs of round 1 of host, which is measured, is []"),
        ([*ROUND, "seconds_to_healthy"], -1, "rounds number 1: seconds_to_healthy is -1, which is not between"),
        (
            [*ROUND, "limits"],
            {"cpus": "2", "memory_bytes": None},
            "rounds number 1: limits.cpus is '2', which is no number",
        ),
    ],
)
def test_a_field_that_can_t_be_is_named(folder: Path, place: list[Any], value: Any, expected: str) -> None:
    whole = (folder / "experiment.json").read_text()
    content = json.loads(whole)
    at(content, place[:-1])[place[-1]] = value
    try:
        write(folder, content)
        assert expected in told(folder)
    finally:
        (folder / "experiment.json").write_text(whole)


@pytest.mark.parametrize(
    "place",
    [
        *([key] for key in ("form", "started_at", "ended_at", "resumed_at", "command", "plan", "order", "options")),
        *([key] for key in ("machine", "git", "versions", "environment", "engine", "model", "deployments")),
        *([key] for key in ("groups", "groups_reason", "stopped_by", "blank")),
        *(["plan", key] for key in Plan.__dataclass_fields__.keys() - {"grid", "reconnect_every"}),
        *(["options", key] for key in ("image", "build", "ports", "reach", "start_timeout_s")),
        *(["deployments", 1, key] for key in ("name", "status", "reason", "image", "rounds")),
        *(["deployments", 1, "image", key] for key in ("name", "id", "digests", "bytes")),
        *([*ROUND, key] for key in ("number", "status", "reason", "folder", "started_at", "runs", "limits")),
        *([*ROUND, key] for key in ("group", "reference_in")),
        *([*ROUND, "limits", key] for key in ("cpus", "memory_bytes", "cpuset")),
    ],
)
def test_a_field_that_is_missing_is_named(folder: Path, place: list[Any]) -> None:
    whole = (folder / "experiment.json").read_text()
    content = json.loads(whole)
    del at(content, place[:-1])[place[-1]]
    try:
        write(folder, content)
        assert (f"{place[-1]} is missing" if place != ["form"] else "it is of form None") in told(folder)
    finally:
        (folder / "experiment.json").write_text(whole)


def places(content: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something is in a JSON value, all of it included."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [here, *(place for key, value in inside for place in places(value, (*here, key)))]


ODD = st.one_of(
    st.sampled_from([None, True, -1, 0, 2, 1.5, 10**400, -(2**63), float("nan"), float("inf"), 1e308, "", "\ud800"]),
    st.sampled_from(
        ["..", "/etc/passwd", "\0", "\x1b]0;title\x07", "\n", [], {}, [[]], [{}], {"\udc00": 1}, "x" * 10**6]
    ),
    st.recursive(
        st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
    ),
)


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_put_in_place_of_a_value_there_is_one_reason(folder: Path, data: st.DataObject) -> None:
    whole = (folder / "experiment.json").read_text()
    content = json.loads(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(content)))
        if not place:
            content = copy.deepcopy(data.draw(ODD))
            continue
        holder, key = at(content, list(place[:-1])), place[-1]
        change = data.draw(st.sampled_from(["replace", "remove", "double", "swap"]))
        if change == "remove":
            del holder[key]
        elif change == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif change == "swap":
            holder[key] = copy.deepcopy(at(content, list(data.draw(st.sampled_from(places(content))))))
        else:
            holder[key] = copy.deepcopy(data.draw(ODD))
    try:
        write(folder, content)
        told(folder)
    finally:
        (folder / "experiment.json").write_text(whole)


def nested(path: Path) -> None:
    path.write_text("[" * 10**6)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(20 * 10**9)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.write_bytes(b""), "Expecting value"),
        (lambda path: path.write_bytes(b"\xff\xfe{}"), "it is not text in UTF-8"),
        (lambda path: path.write_bytes(b"\xef\xbb\xbf{}"), "BOM"),
        (nested, "nested too deeply"),
        (sparse, "larger than 50 MB"),
        (os.mkfifo, "it is not a file"),
        (Path.mkdir, "it is not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "leads to /dev/zero, which does not lie in"),
        (lambda path: path.symlink_to("../elsewhere.json"), "which does not lie in"),
        (lambda path: path.symlink_to("experiment.json"), ""),
        (lambda path: None, "holds no experiment.json; name a folder such as results/<time>"),
    ],
)
def test_what_is_no_record_at_all_is_told(tmp_path: Path, make: Callable[[Path], None], expected: str) -> None:
    (tmp_path / "elsewhere.json").write_text("{}")
    (tmp_path / "results").mkdir()
    make(tmp_path / "results" / "experiment.json")
    assert expected in told(tmp_path / "results")


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "loop", "not-there"):
        assert name in told(tmp_path / name)


@pytest.mark.parametrize("linked", ["host", "host/round-1", "host/round-2", "docker", "blank"])
@pytest.mark.parametrize("target", ["elsewhere", "results/other"])
def test_a_link_to_another_folder_is_refused_and_what_is_there_is_kept(
    folder: Path, tmp_path: Path, linked: str, target: str
) -> None:
    results = tmp_path / "results"
    (results / "host").mkdir(parents=True)
    (results / "experiment.json").write_bytes((folder / "experiment.json").read_bytes())
    (results / "host" / "round-1").mkdir()
    theirs = tmp_path / target
    for number in (1, 2):
        (theirs / f"round-{number}").mkdir(parents=True)
        (theirs / f"round-{number}" / "file").write_text("theirs")
    if linked == "host":
        (results / "host").rename(tmp_path / "host-before")
    (results / linked).unlink(missing_ok=True) if not (results / linked).is_dir() else (results / linked).rmdir()
    (results / linked).symlink_to(theirs)
    said = told(results)
    assert f"{results} can't be continued: {results / linked}" in said
    assert "put the folder itself there, or begin a new experiment" in said
    assert {path.read_text() for path in theirs.rglob("file")} == {"theirs"}
    assert len(list(theirs.rglob("file"))) == 2


def test_a_link_that_comes_in_mid_experiment_fails_the_round_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "round-2").mkdir(parents=True)
    (theirs / "round-2" / "file").write_text("theirs")
    results = tmp_path / "results"
    results.mkdir()
    (results / "experiment.json").write_bytes((folder / "experiment.json").read_bytes())
    journal = Journal.reopen(results)
    (results / "host").symlink_to(theirs)
    measure_turn(Experiment(results, journal, OWN)._bench, Step(2, ("host",)))
    assert "which does not lie in" in str(journal.round("host", 2).reason)
    assert (theirs / "round-2" / "file").read_text() == "theirs"


def test_the_record_replaces_a_link_and_leaves_what_it_led_to(folder: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    results = tmp_path / "results"
    results.mkdir()
    (results / "experiment.json").write_bytes((folder / "experiment.json").read_bytes())
    (results / "experiment.json.new").symlink_to(theirs)
    Journal.reopen(results).note(ended_at=None)
    assert theirs.read_text() == "theirs"
    assert Journal.reopen(results).record.ended_at is None


def test_the_log_of_a_build_replaces_a_link_and_leaves_what_it_led_to(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    log = tmp_path / "image_build.log"
    log.symlink_to("theirs")
    assert _succeeds(["echo", "built"], log, lambda _: None)
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert log.read_text() == "built\n"


def test_a_record_that_can_t_be_written_is_told_and_the_one_before_is_kept(folder: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "experiment.json").write_bytes((folder / "experiment.json").read_bytes())
    journal = Journal.reopen(results)
    results.rename(tmp_path / "moved")
    expected = f"the record can't be written: {results}/experiment.json: No such file or directory; fix that"
    with pytest.raises(RecordError, match=expected):
        journal.note(ended_at="x")
    assert Journal.reopen(tmp_path / "moved").record.ended_at is None


def test_a_name_that_is_not_utf_8_leaves_a_record_that_can_be_read(tmp_path: Path) -> None:
    options = Options(service=str(OWN.path), image="i", build=False, ports=PORTS, reach={}, start_timeout_s=5.0)
    Journal.begin(tmp_path, Plan(), "\udcff", THEN, options, OWN_RECORD)
    assert Journal.reopen(tmp_path).record.command == "?"


PAIR_OF_GROUPS = (("host", "docker", "swarm-1"), ("host", "swarm-3"))


@pytest.fixture(scope="module")
def in_groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment in blocks under other circumstances than ``HERE``, in the middle of its second round."""
    folder = tmp_path_factory.mktemp("in-groups")
    options = Options(service=str(OWN.path), image="i", build=False, ports=PORTS, reach={}, start_timeout_s=5.0)
    plan = Plan(deployments=("host", "docker", "swarm-1", "swarm-3"))
    journal = Journal.begin(folder, plan, "x", THEN, options, OWN_RECORD)
    journal.note(groups=PAIR_OF_GROUPS, groups_reason="they are one service")
    for number in (1, 2):
        journal.add_round()
        for name in ("host", "docker", "swarm-1"):
            whole = {"status": "measured", "reason": None, "group": 1, "runs": ("single_pass", "load")}
            journal.note_round(name, number, **whole)
    journal.note_round("swarm-3", 1, status="measured", reason=None, group=2, runs=("single_pass", "load"))
    journal.note_round("host", 1, reference_in=(2,))
    journal.note_round("swarm-3", 2, status="failed", reason=CUT_OFF, group=2)
    return folder


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (["groups", 0, 1], "compose", "groups has 'compose', which is not in the plan"),
        (["groups", 1, 1], "docker", "groups has docker more than once"),
        (["groups", 0, 1], "host", "groups has host more than once"),
        ([*ROUND, "group"], 2, "group of round 1 of host is 2, which is not its first group"),
        ([*ROUND, "group"], 0, "group is 0, which is not between 1 and 100"),
        ([*ROUND, "reference_in"], [1], "reference_in of round 1 of host names 1, in which it is no reference"),
        (["order"], [["host", "docker", "swarm-1", "swarm-3"]], "the rounds of host are [1, 2], not 1, each once"),
        (["order"], [], "the rounds of host are [1, 2], not none, each once"),
    ],
)
def test_groups_that_can_t_be_are_named(in_groups: Path, place: list[Any], value: Any, expected: str) -> None:
    whole = (in_groups / "experiment.json").read_text()
    content = json.loads(whole)
    at(content, place[:-1])[place[-1]] = value
    try:
        write(in_groups, content)
        assert expected in told(in_groups)
    finally:
        (in_groups / "experiment.json").write_text(whole)


def test_groups_with_another_reference_are_continued_since_the_first_deployment_could_not_run(tmp_path: Path) -> None:
    options = Options(service=str(OWN.path), image="i", build=False, ports=PORTS, reach={}, start_timeout_s=5.0)
    journal = Journal.begin(
        tmp_path, Plan(deployments=("host", "docker", "swarm-1", "swarm-3")), "x", THEN, options, OWN_RECORD
    )
    groups, reason = grouped(("docker", "swarm-1", "swarm-3"), Memory(2**40))
    assert groups == (("docker", "swarm-1"), ("docker", "swarm-3"))
    journal.note(groups=groups, groups_reason=reason)
    assert Journal.reopen(tmp_path).record.groups == groups


def test_what_is_left_of_an_experiment_in_groups_is_a_group_of_a_round(in_groups: Path) -> None:
    journal = Journal.reopen(in_groups)
    assert list(journal.left()) == [Step(2, ("swarm-3", "host"), 2)]
    assert journal.own(Step(2, ("swarm-3", "host"), 2)) == ["swarm-3"]
    assert journal.cut_off() == ["swarm-3", "host"]  # the reference ran as well
    assert journal.record.order == tuple(map(tuple, journal.plan.order(2)))


def test_a_reference_whose_load_is_missing_in_a_group_has_the_group_measured_again(
    in_groups: Path, tmp_path: Path
) -> None:
    (tmp_path / "experiment.json").write_bytes((in_groups / "experiment.json").read_bytes())
    journal = Journal.reopen(tmp_path)
    journal.note_round("swarm-3", 2, status="measured", reason=None, runs=("single_pass", "load"))
    assert [step.group for step in journal.left()] == [2]
    journal.note_round("host", 2, reference_in=(2,))
    assert list(journal.left()) == []
    journal.note_round("docker", 1, status="failed", reason="it broke")
    assert list(journal.left()) == [Step(1, ("host", "docker", "swarm-1"), 1)]


@pytest.mark.parametrize("linked", ["host", "group-2"])
def test_a_link_in_a_group_fails_the_round_and_nothing_else(in_groups: Path, tmp_path: Path, linked: str) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "round-2").mkdir(parents=True)
    (theirs / "round-2" / "load_group2_requests.csv").write_text("theirs")
    results = tmp_path / "results"
    results.mkdir()
    (results / "experiment.json").write_bytes((in_groups / "experiment.json").read_bytes())
    journal = Journal.reopen(results)
    (results / linked).symlink_to(theirs)
    measure_group(Experiment(results, journal, OWN)._bench, Step(2, ("host", "swarm-3"), 2))
    assert "which does not lie in" in str(journal.round("swarm-3", 2).reason)
    assert journal.round("host", 2).status == "measured"
    assert (theirs / "round-2" / "load_group2_requests.csv").read_text() == "theirs"
