"""The deployments as a record, a page and a command line name them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

HOST = "host"
"""The one deployment that is no container."""

SWARM = "swarm"
"""The kind of the deployments that Swarm runs."""


@dataclass(frozen=True)
class Row:
    """One deployment.

    ``title`` is its name for people. Deployments of one ``kind`` differ only in their number of ``replicas``: they use
    the same port, and one at a time can run. ``is_default``: a plan that names no deployments measures it.
    """

    title: str
    kind: str
    replicas: int = 1
    is_default: bool = True


DEPLOYMENTS = {
    HOST: Row("Host process", kind=HOST),
    "docker": Row("docker run", kind="docker"),
    "docker-host-network": Row("docker run (host network)", kind="docker-host-network", is_default=False),
    "compose": Row("Docker Compose", kind="compose"),
    "swarm-1": Row("Swarm, 1 replica", kind=SWARM),
    "swarm-3": Row("Swarm, 3 replicas", kind=SWARM, replicas=3),
}
"""Name on the command line and on disk -> what is known of it, in the order in which deployments are shown."""

DEFAULT = tuple(name for name, row in DEPLOYMENTS.items() if row.is_default)
"""What is measured unless a plan or ``--only`` names others."""


def title_of(name: str) -> str:
    """A deployment's title; its name if this version does not know it."""
    row = DEPLOYMENTS.get(name)
    return name if row is None else row.title


def listed(planned: Collection[str]) -> list[str]:
    """The deployments that an experiment's record lists: those of its plan, and the default ones that are not in it."""
    return [name for name in DEPLOYMENTS if name in DEFAULT or name in planned]


def hint_for(name: str) -> str:
    """Which names a person may have meant who wrote a kind, such as ``swarm``; empty if there are none."""
    meant = [known for known, row in DEPLOYMENTS.items() if row.kind == name != known]
    return f"did you mean {' or '.join(meant)}?" if meant else ""
