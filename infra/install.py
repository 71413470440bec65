"""``python -m infra.install REQUIREMENTS``: install into this .venv; infra/setup.sh calls it.

The user's settings of pip say where packages come from, and nothing else. Needs nothing but the standard library.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import sysconfig
import threading
import urllib.request
from pathlib import Path

from infra.environment import ROOT, for_pip, forget_dead_proxies

CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
QUICK_LOOK_S = 3.0
PTH = "fourfold.pth"
SHOWN = ("Collecting", "Downloading", "Installing", "Successfully")
WIDTH = 100


def main(requirements: str) -> int:
    forget_dead_proxies()
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--retries", "2"]
    command += ["-r", requirements]
    if platform.system() == "Linux" and not any(device.exists() for device in GPU_DEVICES) and _has_cpu_builds():
        command += ["--extra-index-url", CPU_BUILDS]
    try:
        environment = for_pip()
    except subprocess.CalledProcessError:
        return _fail("pip can't read its settings; its reason is above")
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


def _has_cpu_builds() -> bool:
    """Whether PyTorch's own index of CPU builds answers one short question; in a closed network pip alone would go on
    asking it for minutes. PyTorch from the usual index brings gigabytes of CUDA packages on Linux."""
    found = []
    request = urllib.request.Request(f"{CPU_BUILDS}/torch/", method="HEAD")  # noqa: S310  https

    def ask() -> None:
        try:
            with urllib.request.urlopen(request, timeout=QUICK_LOOK_S):  # noqa: S310  as above
                found.append(True)
        except OSError:
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(QUICK_LOOK_S)
    return bool(found)


def _find_project_first() -> None:
    """Let this .venv's Python find the project's modules, then this .venv's packages, before those of a PYTHONPATH.

    With PYTHONSAFEPATH it would not find the project at all, as it does not look into the current folder then.

    Python runs this file's line at each start. The project is the folder that holds .venv.
    """
    packages = str(Path(sysconfig.get_path("purelib")).resolve())
    line = f"import os, sys; sys.path[:0] = [os.path.dirname(os.path.abspath(sys.prefix)), {packages!r}]\n"
    Path(packages, PTH).write_text(line, encoding="utf-8")


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
