"""The entry of the tool's image: runs the command in a second container, which sees the machine as its processes do.

A container that has the engine's socket can start others, but it can't measure them well: the engine mounts folders by
the paths that they have on the machine, a port is published on the machine's loopback, and the machine's processes and
control groups are hidden. So the command runs in a second container of the same image. That one has the machine's
network, processes and control groups, and the folder of results under the machine's own path. It can do nothing that
the first could not: who may use the socket may do all.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fourfold import command

RESULTS = "/results"
"""Where the user mounts the folder of results."""

SOCKET = "/var/run/docker.sock"
CGROUPS = "/sys/fs/cgroup"
MOUNT_INFO = Path("/proc/self/mountinfo")
OWN_ID = re.compile(r"/containers/([0-9a-f]{64})/")
"""The engine mounts a few files into each container, from a folder that has the container's ID as its name."""


def main() -> int:
    is_second = "FOURFOLD_IN_CONTAINER" in os.environ
    if is_second or sys.argv[1:2] in ([], ["-h"], ["--help"], ["--version"]):
        return command.main()
    first = _own_container()
    if first is None and sys.argv[1] in command.OF_ANALYSIS:  # which reads files, and needs no engine
        return command.main()
    if first is None:
        return _fail(f"the Docker engine is not reached; add -v {SOCKET}:{SOCKET}")
    again = second(first, sys.argv[1:])
    if again is None:
        return _fail(f"the results would be gone with this container; add -v $PWD/results:{RESULTS}")
    os.execvp(again[0], again)  # noqa: S606  signals, the terminal and the exit code are then docker's to pass on


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 2


def second(first: Mapping[str, Any], arguments: list[str]) -> list[str] | None:
    """The docker command that runs the second container. None if the first has no folder for results.

    Args:
        first: the first container, as ``docker inspect`` shows it.
        arguments: those of the command ``fourfold``.
    """
    config, mounts = first["Config"], first["Mounts"]
    results = next((each["Source"] for each in mounts if each["Destination"] == RESULTS), None)
    if results is None:
        return None
    words = ["docker", "run", "--rm", "--network", "host", "--pid", "host", "--cgroupns", "host"]
    words += ["--volume", f"{CGROUPS}:{CGROUPS}:ro", "--volume", f"{results}:{results}"]
    for each in mounts:
        source = each.get("Name") or each["Source"]  # a volume has a name
        words += ["--volume", f"{source}:{each['Destination']}:{'rw' if each['RW'] else 'ro'}"]
    words += [part for group in first["HostConfig"].get("GroupAdd") or () for part in ("--group-add", group)]
    words += ["--user", config["User"]] if config.get("User") else []
    words += ["--interactive"] if config.get("OpenStdin") else []
    words += ["--tty"] if config.get("Tty") else []
    for variable in config.get("Env") or ():
        words += ["--env", variable]
    words += ["--env", f"FOURFOLD_FOLDER={results}", "--env", "FOURFOLD_IN_CONTAINER=1"]
    folder = config.get("WorkingDir") or "/"
    words += ["--workdir", str(Path(results).parent) if folder == "/" else folder]
    return [*words, first["Image"], *arguments]


def _own_container() -> dict[str, Any] | None:
    """This container, as its engine shows it. None if no engine answers that has it."""
    own_id = OWN_ID.search(MOUNT_INFO.read_text(encoding="utf-8"))
    if own_id is None:
        return None
    asked = subprocess.run(["docker", "inspect", own_id[1]], capture_output=True, text=True, check=False)
    found: list[dict[str, Any]] = json.loads(asked.stdout) if asked.returncode == 0 else []
    return found[0] if found else None


if __name__ == "__main__":
    sys.exit(main())
