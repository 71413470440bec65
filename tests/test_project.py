"""What drifts: the import rule, the files that must agree, and what the README promises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT

from analysis.judge.comparability import Unlike
from analysis.judge.verdicts import FASTER, SLOWER, UNPROVEN
from analysis.measure.series import Coverage
from infra.deployments.docker_engine import Engine
from runfiles import columns
from runfiles.machines import EngineElsewhere

FOLDERS = ("inference", "locustfiles", "infra", "analysis")
SHARED = ("runfiles", "servicefile")
DOCS = [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]


def imports_of(path: Path) -> set[str]:
    """The first names of all modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_folders_do_not_import_each_other(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        assert not imports_of(path) & (set(FOLDERS) - {folder}), path


@pytest.mark.parametrize(
    "module",
    ["addresses.py", *(path.relative_to(ROOT).as_posix() for name in SHARED for path in (ROOT / name).glob("*.py"))],
)
def test_a_shared_module_imports_only_the_standard_library(module: str) -> None:
    assert imports_of(ROOT / module) <= {*sys.stdlib_module_names, *SHARED, "addresses"}


def test_the_form_of_a_run_is_documented_as_it_is() -> None:
    text = (ROOT / "docs" / "run-files.md").read_text(encoding="utf-8")
    kinds = ("REQUEST", "REPLICA_STATS", "REPLICA_EVENTS", "CHANGES", "MACHINE_STATS", "BLOCK")
    for name in (f"{kind}_COLUMNS" for kind in kinds):
        table = text[text.index(f"<!-- columns: {name} -->") :].split("\n\n")[0]
        documented = re.findall(r"^\| `\w+` \| .+ \|$", table, re.MULTILINE)
        assert documented == [
            f"| `{column.name}` | {column.unit.name} | {column.kind} | "
            f"{column.meaning}{f' (since {column.since})' if column.since else ''} |"
            for column in getattr(columns, name)
        ]


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".ci/run"):
        named = set(re.findall(r"(?:`|^    )make ([a-z]+)", (ROOT / name).read_text(), re.MULTILINE))
        assert named <= targets, name


def test_the_readme_names_files_and_commands_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (ROOT / link).exists(), link
    for command in sorted(set(re.findall(r"python -m (infra \w+|analysis|inference)", text))):
        arguments = command.split() if command != "inference" else None
        if arguments:
            done = subprocess.run(
                [sys.executable, "-m", *arguments, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, command
    for file in re.findall(r"locust -f (\S+)", text):
        assert (ROOT / file).is_file()


def anchors_of(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a Markdown file."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *DOCS])
def test_every_link_of_the_docs_leads_to_a_file_and_a_heading(name: str) -> None:
    page = ROOT / name
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def named_in_the_tree() -> set[str]:
    """The paths in the tree of CONTRIBUTING.md. A name that has no ending, and is no folder, is a module's."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = re.findall(
        r"^    ( *)(\S[^#\n]*)", text[text.index("    addresses.py") : text.index("**The import rule.**")], re.M
    )
    paths = set()
    folders: list[str] = []
    for indent, names in lines:
        del folders[len(indent) // 2 :]
        for name in names.split():
            if name.endswith("/"):
                folders.append(name)
            else:
                paths.add("".join(folders) + (name if "." in name else f"{name}.py"))
    return paths


def test_the_tree_of_contributing_has_every_module_and_nothing_else() -> None:
    modules = {"addresses.py"}
    for folder in (*SHARED, *FOLDERS, "fourfold"):
        modules |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}
    named = named_in_the_tree()
    assert {path for path in named if path.endswith(".py")} == {
        path for path in modules if not path.endswith("__init__.py")
    }
    assert all((ROOT / path).is_file() for path in named)


def test_what_the_docs_quote_is_what_the_programs_say() -> None:
    texts = {name: " ".join((ROOT / name).read_text(encoding="utf-8").split()) for name in ("README.md", *DOCS)}
    elsewhere = EngineElsewhere(is_virtual=True, cpu_count=2, machine_cpu_count=8)
    engine = SimpleNamespace(elsewhere=lambda: elsewhere)
    assert str(Engine.why_no_verdict(engine)) in texts["docs/sharing.md"]  # type: ignore[arg-type]
    assert f'("{Unlike(elsewhere=elsewhere)}")' in texts["docs/statistics.md"]
    assert f'"not measured: {Coverage(0, 3, 10, is_whole=False)}"' in texts["docs/statistics.md"]
    for verdict in (SLOWER, FASTER, UNPROVEN):
        assert f"*{verdict}*" in texts["README.md"]
        assert f"*{verdict}*" in texts["docs/statistics.md"]


def test_setup_says_at_once_which_python_it_needs(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo "Python 3.9.18"; else exit 1; fi\n')
    old.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "infra" / "setup.sh"), "requirements.txt"],
        env={"PYTHON": str(old), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is Python 3.9.18; Fourfold needs Python 3.11, 3.12 or 3.13" in done.stderr


def test_setup_says_at_once_that_venv_is_missing(tmp_path: Path) -> None:
    bare = tmp_path / "python3"
    bare.write_text(
        f'#!/bin/sh\ncase "$*" in *"import venv"*|*"import ensurepip"*) exit 1;; esac\nexec {sys.executable} "$@"\n'
    )
    bare.chmod(0o755)
    project = tmp_path / "project"
    for name in ("infra/setup.sh", "requirements.txt", "inference/requirements.txt"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        ["bash", str(project / "infra" / "setup.sh"), "requirements.txt"],
        env={"PYTHON": str(bare), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "comes without the module venv" in done.stderr
    assert "python3-venv" in done.stderr
