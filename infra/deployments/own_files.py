"""The files of a service's folder that are its own: not what it or a cache writes there."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from infra.environment import for_git

CACHES = ("__pycache__", "node_modules", "venv", "results")
WRITTEN = (".csv", ".log", ".pyc", ".db", ".sqlite")


def own_files(folder: Path) -> Iterator[Path]:
    """All files but those in hidden folders and caches, and those that a service writes."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part in CACHES for part in parts) or path.suffix in WRITTEN:
            continue
        if path.is_file():
            yield path


def digests(folder: Path) -> dict[str, str]:
    """Digests of the files that Git tracks in a folder or, if it tracks none, of ``own_files``, by their names."""
    names = _tracked(folder) or [str(path.relative_to(folder)) for path in own_files(folder)]
    paths = {name: folder / name for name in sorted(names)}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items() if path.is_file()}


def _tracked(folder: Path) -> list[str]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=folder, env=for_git(), capture_output=True, check=False)
    except OSError:
        return []
    return [name for name in listed.stdout.decode("utf-8", "replace").split("\0") if name]
