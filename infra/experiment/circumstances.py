"""The circumstances of an experiment: what its record says of them, and how they differ from those of another time."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from infra.deployments.own_files import own_files
from infra.environment import for_git
from infra.paths import ROOT
from runfiles.fields import Record
from runfiles.machines import DockerEngine, Machine, is_same_memory, this_machine
from runfiles.records import ExperimentRecord, GitState, MeasuredService, Model
from servicefile.service_file import ServiceFile

LIBRARIES = ("fourfold", "docker", "locust", "psutil", "requests", "torch", "transformers", "tokenizers", "onnxruntime")
"""Of this environment: Fourfold itself if pip installed it, the load generator's, and the host process' (of a container
its answer at ``ready`` tells)."""

SERVICE_VARIABLES = "INFERENCE_"

CLOCK_S = 1.0
"""The record tells its start in whole seconds."""

Part = Record | Mapping[str, str] | None
"""A part of the circumstances."""


@dataclass(frozen=True)
class Circumstances:
    """What must not change while an experiment is measured, as ``experiment.json`` holds it. None: not known, or none.

    ``environment`` are the service's variables. ``host_machine`` is that of the host process, if it is not ``machine``.
    """

    machine: Machine
    git: GitState | None = None
    versions: Mapping[str, str] | None = None
    environment: Mapping[str, str] | None = None
    engine: DockerEngine | None = None
    model: Model | None = None
    host_machine: Machine | None = None


def circumstances_here() -> Circumstances:
    """Machine, commit, library versions and the service's settings; neither Docker engine nor model."""
    return Circumstances(
        machine=this_machine(),
        git=git_state(),
        versions={"python": platform.python_version()} | _library_versions(),
        environment={name: os.environ[name] for name in sorted(os.environ) if name.startswith(SERVICE_VARIABLES)},
    )


def service_record(service: ServiceFile) -> MeasuredService:
    """What the record says of the service that is measured."""
    content = service.path.read_text(encoding="utf-8")
    request = service.request
    return MeasuredService(
        name=service.name,
        file=service.path.name,
        content=content,
        method=request.method,
        path=request.path,
        tells_model=service.model is not None,
    )


def changed_file(service: ServiceFile, began: datetime) -> Path | None:
    """A file of the service's folders that is newer than an experiment; None: none is.

    For Fourfold's own service the commit tells. Not looked at: hidden folders, caches, and what a service writes.
    """
    for folder in {service.build, service.folder if service.command else None} - {None, ROOT}:
        for path in own_files(folder or ROOT):
            if path.stat().st_mtime > began.timestamp() + CLOCK_S:
                return path
    return None


def _library_versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_state() -> GitState | None:
    """The commit that is measured and what differs from it; None outside a repository. New files don't count: a plan
    or results in this folder are no change of the code."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=ROOT, env=for_git(), capture_output=True, check=False)
        except FileNotFoundError:
            return None
        return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    status = git("status", "--porcelain", "--untracked-files=no") or ""
    diff = git("diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD") if status else None
    changes = hashlib.sha256(f"{status}\n{diff}".encode()).hexdigest() if status else None
    return GitState(commit=commit, dirty=bool(status), changes_sha256=changes)


def differences(before: ExperimentRecord | Circumstances, after: Circumstances) -> list[str]:
    """In words, what of the circumstances is not as it was; what was not known then is not compared."""
    # An earlier version may not have recorded all that is known of machine and Docker engine today.
    found = _changed("machine", before.machine, after.machine, only_known=True)
    found += _changed("engine", before.engine, after.engine, only_known=True)
    found += _changed("machine of the host process:", before.host_machine, after.host_machine, only_known=True)
    found += _changed("code:", before.git, after.git)
    found += _changed("version of", before.versions, after.versions)
    found += _changed("variable", before.environment, after.environment)
    if before.model is not None and after.model is not None and before.model != after.model:
        found.append(f"model: {_named(before.model)} then, {_named(after.model)} now")
    return found


def _changed(what: str, before: Part, after: Part, *, only_known: bool = False) -> list[str]:
    """What of the keys of one part is not as it was. ``only_known``: of those alone that were known before."""
    old, new = _values(before), _values(after)
    if old is None:
        return []
    if new is None:
        return [f"{what}: there is none now"]
    keys = [key for key in old if old[key] is not None] if only_known else [*{**old, **new}]
    pairs = [(key, old.get(key), new.get(key)) for key in sorted(keys)]
    return [
        f"{what} {key}: {then} then, {now} now"
        for key, then, now in pairs
        if then != now and not (key == "memory_bytes" and then and now and is_same_memory(then, now))
    ]


def _values(part: Part) -> Mapping[str, Any] | None:
    return part.to_json() if isinstance(part, Record) else part


def _named(model: Model) -> str:
    return f"{model.name} ({str(model.sha256)[:12]})"
