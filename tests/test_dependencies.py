"""Each package that is imported directly is declared with a range; `make check` names those that are not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

FOLDERS = ("inference", "services/flask", "locustfiles", "infra", "analysis", "fourfold", "benchmarks", "tests")
REQUIREMENTS = sorted(path.relative_to(ROOT) for folder in (*FOLDERS, ".") for path in (ROOT / folder).glob("req*.txt"))
Check = Callable[[], tuple[int, list[str]]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """The check in a copy of the project's Python files and requirements, in ``tmp_path``; exit code and lines."""
    shared = [ROOT / "addresses.py", *(ROOT / "runfiles").glob("*.py"), *(ROOT / "servicefile").glob("*.py")]
    for path in [*shared, *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]:
        to = tmp_path / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    for name in REQUIREMENTS:
        shutil.copy(ROOT / name, tmp_path / name)

    def run() -> tuple[int, list[str]]:
        command = [sys.executable, str(tmp_path / "tests" / "check_dependencies.py")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.stderr == ""
        return done.returncode, done.stdout.splitlines()

    return run


def change(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count
    path.write_text(text, encoding="utf-8")


def test_all_that_is_imported_is_declared_and_all_that_is_declared_is_used(check: Check, tmp_path: Path) -> None:
    change(tmp_path / "tests" / "conftest.py", r"\Z", "import hypothesis\n")  # which only the tests declare
    assert check() == (0, [])


def test_a_package_that_only_another_one_brings_is_named_with_its_file(check: Check, tmp_path: Path) -> None:
    change(tmp_path / "requirements.txt", r"^Flask>=.*\n", "")
    code, lines = check()
    assert code == 1
    found = [line for line in lines if "flask" in line and line.startswith("locustfiles/")]
    importing = {f"locustfiles/{name}.py" for name in ("_live", "_live_changes", "_options", "_prometheus")}
    assert {line.partition(":")[0] for line in found} == importing
    assert all(line.endswith(": declare it in requirements.txt, with a range") for line in found)


def test_no_part_may_import_what_only_another_part_declares(check: Check, tmp_path: Path) -> None:
    change(tmp_path / "inference" / "app.py", r"\Z", "import psutil\n")
    change(tmp_path / "analysis" / "judge" / "words.py", r"\Z", "\n\ndef late() -> None:\n    import tokenizers\n")
    change(tmp_path / "infra" / "experiment" / "load.py", r"\Z", "import httpx2\nimport no_such_package\n")
    change(tmp_path / "benchmarks" / "rounds.py", r"\Z", "import hypothesis\n")
    code, lines = check()
    assert code == 1
    found = {(line.split(":")[0], line.split("'")[1], line.rpartition(" in ")[2].split(",")[0]) for line in lines}
    assert found == {
        ("inference/app.py", "psutil", "inference/requirements-serve.txt"),
        ("inference/app.py", "psutil", "inference/requirements.txt"),
        ("analysis/judge/words.py", "tokenizers", "requirements.txt"),
        ("infra/experiment/load.py", "httpx2", "requirements.txt"),
        ("infra/experiment/load.py", "no_such_package", "requirements.txt"),
        ("infra/experiment/load.py", "httpx2", "infra/requirements-doctor.txt"),
        ("infra/experiment/load.py", "no_such_package", "infra/requirements-doctor.txt"),
        ("benchmarks/rounds.py", "hypothesis", "benchmarks/requirements.txt"),
    }


def test_a_declared_package_that_nothing_imports_is_named(check: Check, tmp_path: Path) -> None:
    change(tmp_path / "inference" / "requirements-serve.txt", r"\Z", "psutil>=6.0,<8\n")
    assert check() == (
        1,
        [
            "inference/requirements-serve.txt: DEP002 'psutil' defined as a dependency but not used in the codebase: "
            "remove it there"
        ],
    )


@pytest.mark.parametrize("name", REQUIREMENTS, ids=str)
def test_each_package_is_declared_with_a_range(name: Path) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert re.fullmatch(r"#.*|-r \S+|[A-Za-z0-9_-]+>=[0-9.]+,<[0-9.]+", line), line


def test_the_light_image_declares_nothing_of_its_own() -> None:
    light = set((ROOT / "tests" / "light" / "requirements.txt").read_text().splitlines())
    assert light <= set((ROOT / "inference" / "requirements-serve.txt").read_text().splitlines())


def test_the_image_of_the_load_has_the_versions_of_the_load_elsewhere() -> None:
    of_the_load = (ROOT / "locustfiles" / "requirements.txt").read_text().splitlines()
    assert {line for line in of_the_load if line[0] != "#"} <= set((ROOT / "requirements.txt").read_text().splitlines())


def test_make_check_looks_for_undeclared_packages() -> None:
    done = subprocess.run(["make", "--dry-run", "check"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tests/check_dependencies.py" in done.stdout
