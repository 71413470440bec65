"""The command ``fourfold``: the commands of ``python -m infra`` and ``python -m analysis`` under one name.

Nobody imports the project's folders (infra, analysis, ...) by accident: they lie in the folder ``project`` of this
package, which is put in front of Python's path only while the command runs.
"""

from __future__ import annotations

import os
import runpy
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
IS_INSTALLED = (HERE / "project").is_dir()
PROJECT = HERE / "project" if IS_INSTALLED else HERE.parent

OF_INFRA = {
    "run": "measure the deployments, and make the page",
    "check": "start each deployment once, send three texts, and say what came back",
    "doctor": "say what can run here, and why the rest can't",
    "up": "start one deployment and leave it running",
    "down": "remove a deployment that was started from this folder",
    "load": "load a service from the nodes of a swarm",
    "change": "kill, stop, pause or scale what up has started",
}
OF_ANALYSIS = {
    "report": "make the page of a folder of results again, or one page of two folders",
    "compare": "say whether something got worse from one folder of results to another; for CI",
}


def main() -> int:
    command, *others = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help"):
        print(_help())
        return 0
    if command == "--version":
        print(f"fourfold {_version()}")
        return 0
    if command not in OF_INFRA | OF_ANALYSIS:
        known = ", ".join(OF_INFRA | OF_ANALYSIS)
        print(f"error: there is no command {command!r}; choose from {known}", file=sys.stderr)
        return 2
    if IS_INSTALLED and "FOURFOLD_IN_CONTAINER" not in os.environ:
        try:
            os.environ["FOURFOLD_FOLDER"] = str(Path.cwd())
        except FileNotFoundError:
            print("error: the folder that you are in is gone; go to another one and run again", file=sys.stderr)
            return 2
    sys.path.insert(0, str(PROJECT))
    sys.argv = ["fourfold", *([] if command == "report" else [command]), *others]
    runpy.run_module("infra" if command in OF_INFRA else "analysis", run_name="__main__", alter_sys=True)
    return 0


def _help() -> str:
    lines = [f"  {name:<9}{what}" for name, what in (OF_INFRA | OF_ANALYSIS).items()]
    return "\n".join(
        [
            "usage: fourfold COMMAND [OPTION...]",
            "",
            "Measure what it costs to run one LLM inference service four ways: as a process, with docker run, with",
            "Docker Compose, and as a Swarm service. Results go to the folder results of the folder that you are in.",
            "",
            *lines,
            "",
            "fourfold COMMAND --help lists the options of a command; fourfold --version says which version this is.",
            f"Plans, locustfiles and the Dockerfile are in {PROJECT}",
        ]
    )


def _version() -> str:
    if IS_INSTALLED:
        return version("fourfold")
    return str(tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
