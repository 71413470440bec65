"""``python -m infra.install REQUIREMENTS [PIP_OPTION ...]``: install into this .venv; infra/setup.sh calls it.

The user's settings of pip say where packages come from, and nothing else. Needs nothing but the standard library.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from infra.environment import ROOT, for_pip

PTH = "fourfold.pth"
SHOWN = ("Collecting", "Downloading", "Installing", "Successfully")
WIDTH = 100


def main(requirements: str, *options: str) -> int:
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--retries", "2", *options]
    try:
        environment = for_pip()
    except subprocess.CalledProcessError:
        return _fail("pip can't read its settings; its reason is above")
    with subprocess.Popen(
        [*command, "-r", requirements], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as pip:
        for line in pip.stdout or ():
            if line.startswith(SHOWN):
                print(line.rstrip()[:WIDTH], flush=True)
    if pip.returncode != 0:
        return _fail(f"pip could not install all of {requirements}; its reason is above")
    _find_project_first()
    return 0


def _find_project_first() -> None:
    """Let this .venv's Python find the project's modules, then this .venv's packages, before those of a PYTHONPATH; also
    with PYTHONSAFEPATH, under which Python does not look into the current folder.

    Python runs this file's line at each start. The project is the folder that holds .venv.
    """
    packages = sysconfig.get_path("purelib")
    line = f"import os, sys; sys.path[:0] = [os.path.dirname(os.path.abspath(sys.prefix)), {packages!r}]\n"
    Path(packages, PTH).write_text(line, encoding="utf-8")


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
