"""The options that name the agents of a swarm's nodes, and the choice between them and the Docker engine."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _ask_agents import Agents
from _find_agents import AgentFinder, token_in
from _replicas import ReplicaSource
from _tasks_file import TasksFile

from runfiles.events import SWARM_SERVICE

from _find_replicas import Finder


def agents(text: str) -> str:
    """``--agents``: HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[\w.-]+", host, re.ASCII) or not re.fullmatch(r"\d{1,5}", port, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as tasks.fourfold-agents_agent:5701")
    return text


def token_file(text: str) -> str:
    """``--agents-token-file``: a file that holds a token."""
    try:
        token_in(Path(text))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise argparse.ArgumentTypeError(f"{text} can't be used: {reason}") from error
    return text


AGENT_ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "--agents": {
        "type": agents,
        "metavar": "HOST:PORT",
        "include_in_web_ui": False,
        "help": "Sample the replicas of a Swarm service by the agents at all addresses of this name, in place of "
        "Docker sockets (docs/cluster.md)",
    },
    "--agents-token-file": {
        "type": token_file,
        "metavar": "FILE",
        "include_in_web_ui": False,
        "help": "The file with the token that the agents ask for",
    },
    "--tasks-file": {
        "metavar": "FILE",
        "include_in_web_ui": False,
        "help": "The file to which a manager's list of the service's tasks is written while the load runs",
    },
}


def against_agents(options: argparse.Namespace) -> str | None:
    """Why the options can't be used together, with the remedy; None: they can."""
    given = {
        "--agents": options.agents,
        "--agents-token-file": options.agents_token_file,
        "--tasks-file": options.tasks_file,
    }
    missing = [flag for flag, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        return f"agents need {', '.join(given)}; give {' and '.join(missing)} too, or leave all of them out"
    if not missing and options.docker_host:
        return "--docker-host and --agents both sample a swarm's other nodes; leave one of them out"
    if not missing and not options.blocks and not options.replicas.startswith(f"{SWARM_SERVICE}:"):
        return "agents read the replicas of a Swarm service; name it (--replicas swarm:SERVICE), or leave --agents out"
    return None


def finder_of(
    options: argparse.Namespace, asked: str, host: str, said: Callable[[], Mapping[str, Any] | None] | None
) -> ReplicaSource:
    """What finds the replicas of ``asked``. The arguments are those of ``Finder``.

    Raises:
        NoReplicas: ``asked`` is no target.
        OSError, ValueError: the token can't be read.
    """
    if options.agents is None or not asked.startswith(f"{SWARM_SERVICE}:"):
        return Finder(asked, host, said, options.docker_host)
    known = Agents(options.agents, token_in(Path(options.agents_token_file)))
    return AgentFinder(asked, known, TasksFile(Path(options.tasks_file)))
