"""Records and files that no recorder wrote: one reason with file and field, no traceback, and no other verdict."""

from __future__ import annotations

import copy
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_runs import whole_experiment

from analysis import __main__ as command
from analysis.__main__ import cases_of
from analysis.analyse import analyse
from analysis.read.records import UnreadableResults
from analysis.read.results import read_results
from analysis.show.junit import render_junit
from analysis.show.markdown import render_markdown
from analysis.show.page import render

EXPERIMENT, RUN = "experiment.json", "swarm-3/round-2/load_run.json"
REQUESTS = "host/round-1/load_requests.csv"

Place = tuple[str | int, ...]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One experiment for many changes, each of which is taken back."""
    return whole_experiment(tmp_path_factory.mktemp("kept"), rounds=2)


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """A copy of the experiment, for a test to spoil."""
    return Path(shutil.copytree(kept, tmp_path / "results"))


def outcome(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    """The exit code of the command, run in this process."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["analysis", str(folder), *arguments])
        return command.main()


def change(path: Path, place: Place, value: Any) -> None:
    record = json.loads(path.read_text())
    at = record
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    path.write_text(json.dumps(record))


ROUND = ("deployments", 0, "rounds", 1)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("machine", "memory_bytes"), 2**62, "machine.memory_bytes is 4611686018427387904, which is not between"),
        (("machine", "memory_bytes"), 1e308, "machine.memory_bytes is 1e+308, which is no whole number"),
        (("machine", "cpu_count"), 10**400, "'cpu_count': 10000"),
        (("machine", "kernel"), [], "machine.kernel is [], which is no text"),
        (("machine",), "Linux", "machine is 'Linux', which is no table"),
        (("engine", "endpoint"), "tcp://[", "engine.endpoint is 'tcp://[', which is no address"),
        (("versions",), [1], "versions is [1], which is no table"),
        (("order",), [[1]], "order number 1 number 1 is 1, which is no text"),
        (("order",), [["host"]], "order is not that of its plan: it has 1 rounds, the plan 2"),
        (
            ("order",),
            [["host"], ["host"]],
            "order is not that of its plan: its number 1 has ['host'], the plan ['host', ",
        ),
        (("plan",), None, "plan is missing"),
        (("plan", "users"), 1e9, "plan.users is 1000000000.0, which is not between 0 and 1,000,000"),
        (("plan", "rounds"), True, "plan.rounds is True, which is no whole number"),
        (("started_at",), "0001-01-01T00:00:00+00:00", "which is no time between 2000 and 2100"),
        (("command",), "\ud800", "'command': half a surrogate"),
        (("deployments",), {}, "deployments is {}, which is no list"),
        (("deployments", 0), 1, "deployments number 1 is 1, which is no table"),
        (("deployments", 0, "name"), "", "deployments number 1: name is '', which is no name"),
        (("deployments", 0, "name"), "a\x1b[2J", "which is no name"),
        (("deployments", 0, "name"), "docker", "two deployments are called 'docker'"),
        (("deployments", 0, "name"), "docker run", "two deployments are called 'docker' or 'docker run'"),
        (("deployments", 0, "status"), "fine", "status is 'fine', which is none of measured, failed, not run"),
        (("deployments", 0, "image"), {"id": 5}, "deployments number 1: image.id is 5, which is no text"),
        ((*ROUND, "number"), 1, "number: host, round 1 is there twice"),
        ((*ROUND, "number"), 1.5, "deployments number 1: rounds number 2: number is 1.5, which is no whole number"),
        ((*ROUND, "folder"), "host/round-1", "folder of host, round 2: host/round-1 is also that of host, round 1"),
        ((*ROUND, "folder"), "host/../host/./round-1", "is also that of host, round 1"),
        ((*ROUND, "folder"), "../elsewhere", "folder of host, round 2:"),
        ((*ROUND, "folder"), "/etc", "which does not lie in"),
        ((*ROUND, "folder"), "a\x00b", "is not a path in"),
        ((*ROUND, "folder"), ".", "which does not lie in"),
        ((*ROUND, "seconds_to_healthy"), -1, "seconds_to_healthy is -1, which is not between"),
        ((*ROUND, "limits"), {"cpus": "two"}, "limits.cpus is 'two', which is no number"),
        ((*ROUND, "runs"), ["lunch"], "runs number 1 is 'lunch', which is none of single_pass, load"),
    ],
)
def test_an_impossible_experiment_is_refused_with_file_and_field(
    folder: Path, place: Place, value: Any, expected: str
) -> None:
    change(folder / EXPERIMENT, place, value)
    with pytest.raises(UnreadableResults) as told:
        read_results(folder)
    assert str(folder.resolve() / EXPERIMENT) in str(told.value)
    assert expected in str(told.value)
    assert len(str(told.value)) < 600


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("ended_at_unix_s",), 0, "ended_at_unix_s is 0, which is not between"),
        (("ended_at_unix_s",), 1_600_000_000, "ended_at_unix_s is 1600000000, which is before started_at_unix_s"),
        (("started_at_unix_s",), 5e9, "started_at_unix_s is 5000000000.0, which is not between"),
        (("users",), 10**7, "users is 10000000, which is not between"),
        (("warm_up_s",), "2", "warm_up_s is '2', which is no number"),
        (("service",), "fine", "service is 'fine', which is no table"),
        (("service", "model", "sha256"), ["a"], "service.model.sha256 is ['a'], which is no text"),
        (("texts", "count"), -5, "texts.count is -5, which is not between"),
        (("texts",), [], "texts is [], which is no table"),
        (("replicas", "list"), [{"name": "a"}], "replicas.list number 1: id is missing"),
        (("replicas", "problems"), [None], "replicas.problems number 1 is missing"),
        (("generator", "cpu_percent"), {}, "generator.cpu_percent is {}, which is no number"),
        (("faults",), [{"kind": "clock"}], "faults number 1: text is missing"),
        (("faults",), "many", "faults is 'many', which is no list"),
        (("host",), "http://[", "host is 'http://[', which is no address"),
        (("form",), 10**400, "'form': 1000000000"),
    ],
)
def test_an_impossible_run_is_left_out_with_file_and_field(
    folder: Path, place: Place, value: Any, expected: str
) -> None:
    change(folder / RUN, place, value)
    (doubt,) = (doubt for doubt in analyse(read_results(folder)).validity.invalid if doubt.kind == "unreadable")
    assert doubt.text.startswith(f"Swarm, 3 replicas: {RUN} can't be read (")
    assert expected in doubt.text


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", "1000"),
        ("response_time_ms", "1e308"),
        ("started_at_unix_s", "0"),
        ("started_at_unix_s", "5e9"),
        ("request_bytes", "1e308"),
        ("connection_reused", "2"),
        ("replica", "x" * 2000),
    ],
)
def test_an_impossible_cell_makes_the_file_unreadable(folder: Path, column: str, value: str) -> None:
    path = folder / REQUESTS
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    rows[7][column] = value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (said,) = read_results(folder).deployments[0].rounds[0].unread
    assert f"{REQUESTS}, line 9: {column} is" in said


def test_an_answer_after_the_runs_end_was_not_of_this_run(folder: Path) -> None:
    path = folder / REQUESTS
    header, first, *rest = path.read_text().splitlines(keepends=True)
    cells = first.split(",")
    cells[1] = "200000.0"
    path.write_text(header + ",".join(cells) + "".join(rest))
    (said,) = read_results(folder).deployments[0].rounds[0].unread
    assert f"{REQUESTS} can't be read (response_time_ms tells of an answer after the run's end" in said


def sparse(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)


@pytest.mark.parametrize("name", [EXPERIMENT, RUN, REQUESTS, "host/round-1/load_replica_stats.csv"])
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (os.mkfifo, "it is not a file"),
        (os.mkdir, "it is not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "leads to /dev/zero"),
        (lambda path: path.symlink_to(path), ""),
        (lambda path: sparse(path, 20 * 10**9), "it is larger than"),
        (lambda path: path.write_text(",".join(["c"] * 10**6) + "\n"), ""),
        (lambda path: path.write_bytes(b"\0" * 10**7), ""),
    ],
)
def test_what_is_no_file_of_a_recorder_is_refused_at_once(
    folder: Path, name: str, what: Callable[[Path], None], expected: str
) -> None:
    path = folder / name
    path.unlink()
    what(path)
    try:
        said = " ".join(doubt.text for doubt in analyse(read_results(folder)).validity.invalid)
    except UnreadableResults as error:
        said = str(error)
        assert name == EXPERIMENT
    assert name in said
    assert expected in said


def test_a_file_with_a_hole_was_not_written_to_its_end(folder: Path) -> None:
    size = (folder / REQUESTS).stat().st_size
    sparse(folder / REQUESTS, 10**9)
    (said,) = read_results(folder).deployments[0].rounds[0].unread
    assert "nothing was written from byte" in said
    assert size > 0


def test_a_round_or_a_file_that_lies_elsewhere_is_not_read(folder: Path, tmp_path: Path) -> None:
    elsewhere = whole_experiment(tmp_path / "elsewhere", rounds=2)
    for name in (REQUESTS, "host/round-1/load_run.json"):
        (folder / name).unlink()
        (folder / name).symlink_to(elsewhere / name)
        (said,) = read_results(folder).deployments[0].rounds[0].unread
        assert f"leads to {elsewhere / name}, which does not lie in {folder}" in said
    shutil.rmtree(folder / "host")
    (folder / "host").symlink_to(elsewhere / "host")
    with pytest.raises(UnreadableResults, match=r"folder of host, round 1: .* does not lie in"):
        read_results(folder)
    shutil.copy(elsewhere / EXPERIMENT, tmp_path / "experiment")
    (folder / EXPERIMENT).unlink()
    (folder / EXPERIMENT).symlink_to(tmp_path / "experiment")
    with pytest.raises(UnreadableResults, match="does not lie in"):
        read_results(folder)


def test_links_in_a_circle_are_named(folder: Path) -> None:
    (folder / EXPERIMENT).unlink()
    (folder / EXPERIMENT).symlink_to(EXPERIMENT)
    with pytest.raises(UnreadableResults, match=r"experiment\.json (leads nowhere|.*can't be read|.*holds no)"):
        read_results(folder)


def test_a_page_that_is_a_link_is_replaced_and_what_it_leads_to_is_left_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name, format in (("report.html", "html"), ("report.md", "markdown")):
        (folder / name).symlink_to(victim)
        assert outcome(monkeypatch, folder, "--format", format) == 0
        assert victim.read_text() == "precious"
        assert not (folder / name).is_symlink()
    assert "Fourfold" in (folder / "report.html").read_text()


def test_an_output_that_its_user_named_is_written_where_it_leads(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "page.html")
    assert outcome(monkeypatch, folder, "--output", str(tmp_path / "link")) == 0
    assert (tmp_path / "link").is_symlink()
    assert "Fourfold" in (tmp_path / "page.html").read_text()
    assert outcome(monkeypatch, folder, "--output", os.devnull) == 0
    assert Path(os.devnull).is_char_device()
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize(
    "name",
    [
        *(EXPERIMENT, REQUESTS, RUN),
        *(f"host/round-1/{name}" for name in ("load_stats.csv", "load_stats_history.csv", "service.log", "kept.json")),
        "host/round-1/system_inference_metrics.csv",
    ],
)
def test_what_was_recorded_is_never_written_over(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / name).open("a"):
        before = (folder / name).read_bytes()
    for option in ("--output", "--junit"):
        assert outcome(monkeypatch, folder, option, str(folder / name)) == 2
        assert "is a file of a recording; name another place" in capsys.readouterr().err
    assert (folder / name).read_bytes() == before


def test_texts_from_outside_stay_texts(folder: Path) -> None:
    for text in ("/*PLOTLY*/", "</script><script>", "constructor", "__proto__", "=HYPERLINK()"):
        change(folder / EXPERIMENT, ("command",), text)
        change(folder / EXPERIMENT, ("deployments", 0, "name"), text)
        page = render(analyse(read_results(folder)))
        assert page.count("plotly.js v") == 1
        assert '</script><script>"' not in page
        assert page.count("<script>") == 2


def test_a_folder_and_a_terminal_without_utf_8(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9sultats"))
    change(whole_experiment(odd) / EXPERIMENT, ("deployments", 1, "reason"), "no → engine")
    line = [sys.executable, "-m", "analysis", str(odd)]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert "no \\u2192 engine" in done.stdout
    assert "r?sultats" in (odd / "report.html").read_text(encoding="utf-8")


def test_no_text_of_a_recording_moves_the_cursor_or_reverses_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b[2J\x1b]0;title\x07a \x9b2J\u202eb\rc\nThe experiment is valid."
    change(folder / EXPERIMENT, ("deployments", 1, "reason"), hostile)
    change(folder / EXPERIMENT, (*ROUND, "folder"), f"host/{hostile}")
    (folder / "note.txt").write_text(f"a note {hostile}", encoding="utf-8")
    assert outcome(monkeypatch, folder, *OUTPUTS) == 3
    analysis = analyse(read_results(folder))
    for written in (render(analysis), render_markdown(analysis), render_junit(cases_of(analysis))):
        assert "The experiment is valid." in written
        assert not any(sign in written for sign in ("\x1b", "\x9b", "\u202e", r"\u202eb"))
    change(folder / EXPERIMENT, ("deployments",), hostile)
    assert outcome(monkeypatch, folder, *OUTPUTS) == 2
    said = capsys.readouterr()
    assert "a note a 2J b c The experiment is valid." in said.out
    assert "docker run: not run: a 2J b c The experiment is valid." in said.out
    assert [character for character in said.out + said.err if character != "\n" and not character.isprintable()] == []


VALUES: list[Any] = [
    None, True, -1, 0, 1.5, 10**18, 10**400, 1e308, "", "x" * 10_000, "\ud800", "\x00", "\x1b[2J", "</script>", [], {},
    [[]], [1], {"a": 1}, {"constructor": {"__proto__": 1}}, "../..", "9999-01-01T00:00:00", "tcp://[", "host/round-1",
    "measured", "=1+1", "constructor",
]  # fmt: skip
CELLS = [
    "", "nan", "inf", "-1", "1e308", "9" * 5000, "True", "</script>", '"', "a\nb", "\x00", "x" * 200_000, "measured",
    "warm-up", "0", "1000", "1700000005", "constructor", "=1+1",
]  # fmt: skip


OUTPUTS = ("--format", "markdown", "--output", os.devnull, "--junit", os.devnull)


def places(record: Any, at: Place = ()) -> Iterator[Place]:
    yield from [at] if at else []
    inner = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in inner:
        yield from places(value, (*at, key))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(data=st.data())
def test_no_change_of_a_record_ends_in_a_traceback(
    kept: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    path = kept / data.draw(st.sampled_from([EXPERIMENT, RUN, "host/round-1/single_pass_run.json"]))
    before = path.read_text()
    place = data.draw(st.sampled_from(list(places(json.loads(before)))))
    try:
        change(path, place, data.draw(st.sampled_from(VALUES)))
        assert outcome(monkeypatch, kept, *OUTPUTS) in (0, 2, 3)
    finally:
        path.write_text(before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(data=st.data())
def test_no_change_of_a_cell_ends_in_a_traceback(
    kept: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    names = [REQUESTS, "swarm-3/round-1/load_replica_stats.csv", "swarm-3/round-1/load_replica_events.csv"]
    path = kept / data.draw(st.sampled_from(names))
    before = path.read_bytes()
    rows = list(csv.reader(io.StringIO(before.decode())))
    row, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, len(rows[0]) - 1))
    rows[row][column] = data.draw(st.sampled_from(CELLS))
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    try:
        path.write_bytes(file.getvalue().encode())
        assert outcome(monkeypatch, kept, *OUTPUTS) in (0, 3)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("what", ["round", "deployment", "folder", "number and folder", "files", "hard links"])
def test_no_verdict_changes_because_of_a_duplicate(folder: Path, what: str) -> None:
    before = {verdict.id: verdict.kind for verdict in analyse(read_results(folder)).verdicts}
    record = json.loads((folder / EXPERIMENT).read_text())
    first, second = record["deployments"][0]["rounds"]
    if what == "round":
        record["deployments"][0]["rounds"].append(copy.deepcopy(second))
    elif what == "deployment":
        record["deployments"].append(copy.deepcopy(record["deployments"][0]))
    elif what == "folder":
        second["folder"] = first["folder"]
    elif what == "number and folder":
        record["deployments"][0]["rounds"].append(second | {"number": 3, "folder": "host/round-1/../round-2"})
    else:
        shutil.rmtree(folder / "host" / "round-2")
        copied = os.link if what == "hard links" else shutil.copy2
        shutil.copytree(folder / "host" / "round-1", folder / "host" / "round-2", copy_function=copied)
    (folder / EXPERIMENT).write_text(json.dumps(record))
    try:
        analysis = analyse(read_results(folder))
    except UnreadableResults:
        return
    assert not analysis.validity.is_valid
    assert all(verdict.kind in (before[verdict.id], "no verdict") for verdict in analysis.verdicts)
