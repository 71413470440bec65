"""How many threads compute. The tests write the files of control groups as the kernel shows them."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from inference.engines.processors import compute_threads, cpu_limit


def group(root: Path, path: str, **files: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_max", ".max").replace("cpu_cfs", "cpu.cfs")).write_text(content)


def member(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "cgroup"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("content", "limit"), [("max 100000\n", math.inf), ("60000 100000\n", 0.6), ("180000 100000\n", 1.8)]
)
def test_the_limit_of_a_container(tmp_path: Path, content: str, limit: float) -> None:
    group(tmp_path / "fs", "", cpu_max=content)
    assert cpu_limit(tmp_path / "fs", member(tmp_path, "0::/\n")) == limit


def test_a_group_above_may_be_the_narrower(tmp_path: Path) -> None:
    group(tmp_path / "fs", "a/b", cpu_max="max 100000\n")
    group(tmp_path / "fs", "a", cpu_max="50000 100000\n")
    assert cpu_limit(tmp_path / "fs", member(tmp_path, "0::/a/b\n")) == 0.5


def test_version_1_has_two_files(tmp_path: Path) -> None:
    group(tmp_path / "fs", "cpu,cpuacct/c", cpu_cfs_quota_us="150000\n", cpu_cfs_period_us="100000\n")
    text = "5:memory:/c\n3:cpu,cpuacct:/c\n0::/\n"
    assert cpu_limit(tmp_path / "fs", member(tmp_path, text)) == 1.5


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path / "fs", tmp_path / "none") == math.inf


@pytest.mark.parametrize(("content", "threads"), [("60000 100000", 1), ("180000 100000", 2), ("max 100000", 1000)])
def test_threads_fill_the_limit_and_no_more(tmp_path: Path, content: str, threads: int) -> None:
    group(tmp_path / "fs", "", cpu_max=content)
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert compute_threads(tmp_path / "fs", member(tmp_path, "0::/\n")) == min(here, threads)
