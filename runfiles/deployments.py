"""The deployments as a record, a page and a command line name them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

HOST = "host"
"""The one deployment that is no container."""

SWARM = "swarm"
"""The kind of the deployments that Swarm runs."""

COMPOSE_PROXY = "compose-proxy"
"""The kind of the deployments of several replicas that Compose runs, behind a reverse proxy."""

MOST_REPLICAS = 32


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


def _swarm(replicas: int) -> Row:
    counted = "1 replica" if replicas == 1 else f"{replicas} replicas"
    return Row(f"Swarm, {counted}", kind=SWARM, replicas=replicas, is_default=replicas in (1, 3))


def _compose_proxy(replicas: int) -> Row:
    title = f"Compose, {replicas} replicas behind a proxy"
    return Row(title, kind=COMPOSE_PROXY, replicas=replicas, is_default=False)


DEPLOYMENTS = {
    HOST: Row("Host process", kind=HOST),
    "docker": Row("docker run", kind="docker"),
    "docker-host-network": Row("docker run (host network)", kind="docker-host-network", is_default=False),
    "compose": Row("Docker Compose", kind="compose"),
    **{f"compose-{replicas}": _compose_proxy(replicas) for replicas in range(2, MOST_REPLICAS + 1)},
    **{f"swarm-{replicas}": _swarm(replicas) for replicas in range(1, MOST_REPLICAS + 1)},
}
"""Name on the command line and on disk -> what is known of it, in the order in which deployments are shown."""

DEFAULT = tuple(name for name, row in DEPLOYMENTS.items() if row.is_default)
"""What is measured unless a plan or ``--only`` names others."""

USUAL = tuple(name for name, row in DEPLOYMENTS.items() if row.is_default or row.kind == name)
"""What ``doctor`` and ``check`` look at: without those of which a user chooses the number of replicas."""

_FAMILIES = {
    "compose": f"compose-N is possible for N from 2 to {MOST_REPLICAS}",
    SWARM: f"swarm-N is possible for N from 1 to {MOST_REPLICAS}",
}
"""What names of several replicas begin with -> which there are."""

FAMILY_TITLES = {SWARM: "Swarm"}

NAMES = f"{', '.join(USUAL[:4])}, compose-2 to compose-{MOST_REPLICAS}, swarm-1 to swarm-{MOST_REPLICAS}"
"""All names, for people."""


def title_of(name: str) -> str:
    """A deployment's title; its name if this version does not know it."""
    row = DEPLOYMENTS.get(name)
    return name if row is None else row.title


def names_of(kind: str) -> list[str]:
    """The deployments of a kind, in their order."""
    return [name for name, row in DEPLOYMENTS.items() if row.kind == kind]


def family_of(name: str) -> str:
    """What a deployment is without its number of replicas: ``compose`` of compose-3, ``swarm`` of swarm-1."""
    family = name.partition("-")[0]
    return family if family in _FAMILIES else name


def family_title(family: str) -> str:
    """A family's name for people."""
    return FAMILY_TITLES.get(family) or title_of(family)


def scaled(family: str, replicas: int) -> str | None:
    """The deployment of a family with so many replicas; None: there is none, as one process or container is one."""
    name = family if replicas == 1 and family != SWARM else f"{family}-{replicas}"
    return name if name in DEPLOYMENTS and family_of(name) == family else None


def listed(planned: Collection[str]) -> list[str]:
    """The deployments that an experiment's record lists: those of its plan, and the default ones that are not in it."""
    return [name for name in DEPLOYMENTS if name in DEFAULT or name in planned]


def hint_for(name: str) -> str:
    """Which names a person may have meant who wrote one that does not exist, such as ``swarm`` or ``swarm-33``; empty
    if nothing is known of that."""
    family = name.partition("-")[0]
    return _FAMILIES.get(family, "") if name not in DEPLOYMENTS else ""
