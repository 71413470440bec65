"""``python -m infra.install REQUIREMENTS``: install into this .venv. infra/setup.sh calls it.

Of the user's settings of pip only those apply that say where packages come from. Imports only the standard library.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from infra.environment import for_pip, forget_dead_proxies
from infra.paths import ROOT

CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
TORCH_INDEX = os.environ.get("FOURFOLD_TORCH_INDEX", "")
"""An index of PyTorch's builds, instead of PyTorch's own. The URL may contain a password."""

GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
QUICK_LOOK_S = 3
LOOK_S = 15
"""Includes the start of pip on a busy machine, and names that no server resolves."""

OTHER_SOURCES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
PTH = "fourfold.pth"
SHOWN = ("Collecting", "Downloading", "Installing", "Successfully")
WIDTH = 100


def main(requirements: str) -> int:
    forget_dead_proxies()
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--retries", "2"]
    command += ["-r", requirements]
    try:
        environment = for_pip()
    except subprocess.CalledProcessError:
        return _fail("pip can't read its settings; its reason is above")
    is_for_cpu = platform.system() == "Linux" and not any(device.exists() for device in GPU_DEVICES)
    if "torch" in names_in(ROOT / requirements) and (TORCH_INDEX or is_for_cpu):
        if _has_torch(TORCH_INDEX or CPU_BUILDS, environment):
            command += ["--extra-index-url", TORCH_INDEX or CPU_BUILDS]
        elif TORCH_INDEX:
            print("warning: FOURFOLD_TORCH_INDEX has no torch, or does not answer; pip's own index is used", flush=True)
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
    ) as pip:
        for line in pip.stdout or ():
            if line.startswith(SHOWN):
                print(line.rstrip()[:WIDTH], flush=True)
    if pip.returncode != 0:
        return _fail(f"pip could not install all of {requirements}; its reason is above")
    _find_project_first()
    return 0


def names_in(requirements: Path) -> list[str]:
    """The packages that a requirements file names, and those of the files that it includes."""
    names = []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            names += names_in(requirements.parent / line.removeprefix("-r ").strip())
        elif found := re.match(r"[A-Za-z0-9._-]+", line):
            names.append(found[0])
    return names


def not_installed(requirements: Path) -> list[str]:
    """The packages of a requirements file that this Python does not have."""
    missing = []
    for name in dict.fromkeys(names_in(requirements)):
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    return missing


def _has_torch(index: str, environment: dict[str, str]) -> bool:
    """Whether an index has torch, asked briefly with the user's proxy, certificates and logins.

    PyTorch from the usual index brings gigabytes of CUDA packages on Linux, so this index is preferred. But in a closed
    network pip would go on asking it for minutes.
    """
    ask = [sys.executable, "-m", "pip", "index", "versions", "torch", "--index-url", index]
    ask += ["--retries", "0", "--timeout", str(QUICK_LOOK_S), "--disable-pip-version-check", "--no-input"]
    alone = {name: value for name, value in environment.items() if name not in OTHER_SOURCES}
    try:
        return subprocess.run(ask, env=alone, capture_output=True, check=False, timeout=LOOK_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _find_project_first() -> None:
    """Make this .venv's Python look for modules in the project first, then in this .venv, then in PYTHONPATH.

    With PYTHONSAFEPATH it would not find the project at all, as it does not look into the current folder then. Python
    runs the line of the .pth file at each start. The project is the folder that contains .venv.
    """
    packages = str(Path(sysconfig.get_path("purelib")).resolve())
    line = f"import os, sys; sys.path[:0] = [os.path.dirname(os.path.abspath(sys.prefix)), {packages!r}]\n"
    Path(packages, PTH).write_text(line, encoding="utf-8")


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
