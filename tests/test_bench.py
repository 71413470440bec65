"""What both layouts of an experiment share."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.deployments.service import Service
from infra.experiment import bench
from infra.experiment.bench import copy_whole, repeat_s
from infra.experiment.plan import Plan
from runfiles.records import Limits


def writing(rows: list[int]) -> Service:
    """A service whose two metrics files have so many rows together, at each time that they are copied; the last number
    stays."""

    def copy(to: Path) -> list[Path]:
        count = rows.pop(0) if len(rows) > 1 else rows[0]
        first, second = to / "first.csv", to / "second.csv"
        first.write_bytes(b"header\n" + b"row\n" * (count - 1))
        second.write_bytes(b"header\nrow\n")
        return [first, second]

    return Service("none", copy, "nowhere", Limits(), gone=lambda: None, last_words=lambda: "")


def test_metrics_files_are_copied_once_all_rows_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "METRICS_EVERY_S", 0.01)
    rows = [157, 158, 160, 400]
    assert copy_whole(writing(rows), tmp_path, 160) == [tmp_path / "first.csv", tmp_path / "second.csv"]
    assert (tmp_path / "first.csv").read_bytes().count(b"row") == 159
    assert rows == [400]


def test_a_row_that_never_comes_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "METRICS_EVERY_S", 0.01)
    monkeypatch.setattr(bench, "METRICS_WITHIN_S", 0.1)
    assert len(copy_whole(writing([159]), tmp_path, 160)) == 2


@pytest.mark.parametrize(("rounds", "seconds"), [(1, 5.0), (2, 2.5), (3, 2.0), (None, 2.0)])
def test_the_single_passes_of_all_rounds_take_five_seconds(rounds: int | None, seconds: float) -> None:
    assert repeat_s(Plan(rounds=rounds)) == seconds
    if rounds is not None:
        assert rounds * seconds >= 5
