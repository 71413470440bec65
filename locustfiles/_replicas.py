"""What a replica is, how it is read, and what ``--host`` and ``--replicas`` can name."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from _node_clocks import Offset

import addresses
from runfiles.events import AUTO, COMPOSE_SERVICE, NO_REPLICAS, PROCESS, REPLICA_KINDS

from _counters import Counters

ALL_OPTIONS = "container:NAME, compose:PROJECT/SERVICE, swarm:SERVICE, process:PID or process:PID@ssh://USER@HOST"


class NoReplicas(Exception):
    """Nothing to sample was found. The message says where it was looked for."""


class Reader(Protocol):
    """Reads the counters of one replica. ``sources`` says how each group of columns is read."""

    @property
    def sources(self) -> Mapping[str, str]: ...

    def read(self) -> Counters | None:
        """The counters now; None if the replica has ended."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Replica:
    """One instance of the service.

    Args:
        name: by which it is recorded.
        id: the first 12 digits of the container's ID, or the process ID.
        node: the Docker engine or machine that it runs on.
        read: gives its counters, or None if it has ended. None: it can't be reached.
        reason: why it can't be reached.
        generation: tells it from its predecessor of the same name.
        state: what the engine last said of it.
        why_ended: what the engine says of its end.
        is_anew: whether it has been started again since its end. An engine also lists for a moment what has ended.
        sources: how each group of columns is read. It is known after the first reading.
        other_names: names by which it may answer, besides its name and ID.
        doubt: why it may not be the service.
        is_instant: whether reading it takes no time, as it asks nobody. It is known after the first reading.
    """

    name: str
    id: str
    node: str
    read: Callable[[], Counters | None] | None
    reason: str | None = None
    generation: str = ""
    state: str = ""
    why_ended: Callable[[], str] = lambda: ""
    is_anew: Callable[[], bool] = lambda: True
    sources: Callable[[], Mapping[str, str]] = dict
    other_names: Callable[[], Sequence[str]] = list
    doubt: str | None = None
    is_instant: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Target:
    """What ``--replicas`` names: a container, a Compose service, a Swarm service or a process."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class ReplicaSource(Protocol):
    """Finds the replicas of a target, again and again. ``target`` is None until it is known."""

    @property
    def target(self) -> Target | None: ...

    def replicas(self) -> list[Replica]:
        """The replicas that run now.

        Raises:
            NoReplicas: the target is not there.
            docker.errors.DockerException and others of ``READ_FAILURES``: who knows them does not answer.
        """

    def explain_unsampled(self, names: Sequence[str]) -> str:
        """Who answers by these names, and how it can be sampled, as the second half of a sentence."""

    def clocks(self) -> Mapping[str, Offset]:
        """How far the clocks of other nodes are ahead, by their names. What is sampled there is dated by this clock."""

    def close(self) -> None: ...


def named_target(text: str) -> Target:
    """The target that a value of ``--replicas`` names.

    Raises:
        NoReplicas: it names none.
    """
    kind, _, name = text.partition(":")
    wrong = kind not in REPLICA_KINDS or not name
    wrong = wrong or (kind == COMPOSE_SERVICE and not re.fullmatch(r"[^/]+/[^/]+", name))
    wrong = wrong or (kind == PROCESS and not re.fullmatch(r"[0-9]+(@ssh://[^/@]*@?[^/@]+)?", name))
    if wrong:
        raise NoReplicas(f"{text!r}; expected auto, none, {ALL_OPTIONS}")
    return Target(kind, name)


def host_argument(text: str) -> str:
    """``--host`` in any form that ``addresses`` knows, as the URL that the load needs."""
    try:
        return addresses.parse(text).url
    except addresses.NotAnAddress as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def replicas_argument(text: str) -> str:
    """Check ``--replicas`` when the command line is read, so that a mistake ends the run before it begins."""
    if text not in (AUTO, NO_REPLICAS):
        try:
            named_target(text)
        except NoReplicas as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return text
