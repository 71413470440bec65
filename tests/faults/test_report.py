"""The figures of ``benchmarks.faults``: rows of several calls in one file, and the table of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.faults_outcome import Fault, Outcome
from benchmarks.faults_report import BEGIN, END, table, write_report


def fault(name: str, *, broken: tuple[str, ...] = (), lacking: str | None = None) -> Fault:
    outcome = Outcome({"requests lost": 1234, "a|b": "x"}, broken)
    return Fault(name, f"Title of {name}", "nothing is lost", lambda short: outcome, lambda: lacking)


def call(monkeypatch: pytest.MonkeyPatch, path: Path, *made: Fault) -> int:
    monkeypatch.setattr(faults, "faults", lambda: made)
    monkeypatch.setattr("sys.argv", ["faults", "--json", str(path), "--short"])
    return faults.main()


def test_rows_of_other_calls_stay_and_one_that_can_not_be_made_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "faults.json"
    assert call(monkeypatch, path, fault("one"), fault("two", lacking="no mesh")) == 0
    assert call(monkeypatch, path, fault("one", lacking="no root"), fault("two", broken=("One was lost.",))) == 1
    rows = json.loads(path.read_text())["rows"]
    assert [(row["name"], row["lacking"], row["broken"]) for row in rows] == [
        ("one", None, []),
        ("two", None, ["One was lost."]),
    ]
    lines = table(rows).splitlines()[2:]
    assert lines[0] == (
        "| Title of one | Nothing is lost | (short form)<br>requests lost: 1,234<br>a&#124;b: x | yes |"
    )
    assert lines[1].endswith("| **no**: One was lost. |")


def test_a_file_with_something_else_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"a": 1}')
    with pytest.raises(SystemExit, match="has no figures of this benchmark"):
        call(monkeypatch, path, fault("one"))
    assert path.read_text() == '{"a": 1}'


def test_the_table_stands_between_its_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_report([], page)
    assert page.read_text().startswith(f"before\n{BEGIN}\n\n| fault |")
    assert page.read_text().endswith(f"{END}\nafter\n")
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no lines"):
        write_report([], page)
