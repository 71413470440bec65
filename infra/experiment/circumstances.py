"""Under which conditions an experiment runs: what its record says of them, and how they differ from another time's."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from infra.environment import for_git
from infra.paths import ROOT
from runfiles.machines import SAME_MEMORY, machine_record

LIBRARIES = ("docker", "locust", "psutil", "requests", "torch", "transformers", "tokenizers", "onnxruntime")
"""Of this environment: the load generator's, and the host process' (of a container /health tells)."""

SERVICE_VARIABLES = "INFERENCE_"
_PARTS = {"machine": "machine", "engine": "engine", "git": "code:", "versions": "version of", "environment": "variable"}


def conditions() -> dict[str, Any]:
    """Machine, commit, library versions and the service's settings, as ``experiment.json`` holds them."""
    return {
        "machine": machine_record(),
        "git": git_record(),
        "versions": {"python": platform.python_version()} | _library_versions(),
        "environment": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(SERVICE_VARIABLES)},
    }


def _library_versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_record() -> dict[str, Any] | None:
    """The commit that was measured, whether tracked files differed from it, and a digest of how (None: they did not);
    None outside a repository. New files don't count: a plan or results in this folder are no change of the code."""

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
    return {"commit": commit, "dirty": bool(status), "changes_sha256": changes}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """In words, what of the conditions is not as it was; what was not known then is not compared."""
    found = []
    for part, what in _PARTS.items():
        old, new = before.get(part), after.get(part)
        if old is None or old == new:
            continue
        if new is None:
            found.append(f"{what}: there is none now")
            continue
        # An earlier version may not have recorded all that is known of machine and engine today.
        known_then = {key for key in old if old[key] is not None} if part in ("machine", "engine") else old | new
        for key in sorted(known_then):
            then, today = old.get(key), new.get(key)
            if then != today and not (key == "memory_bytes" and _is_about(then, today)):
                found.append(f"{what} {key}: {then} then, {today} now")
    old_model, new_model = before.get("model"), after.get("model")
    if old_model is not None and new_model is not None and old_model != new_model:
        found.append(f"model: {_named(old_model)} then, {_named(new_model)} now")
    return found


def _is_about(old: Any, new: Any) -> bool:
    return isinstance(old, int) and isinstance(new, int) and abs(new - old) <= SAME_MEMORY * old


def _named(model: Mapping[str, Any]) -> str:
    return f"{model.get('name')} ({str(model.get('sha256'))[:12]})"
