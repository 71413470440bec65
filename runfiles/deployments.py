"""The deployments: their names on the command line and on disk, and their titles."""

from __future__ import annotations

NO_REPLICAS = "none"
PROCESS = "process"
SWARM = "swarm"
"""What ``replicas.asked`` and ``replicas.found`` of a run may be: nothing; KIND:NAME, of which these are two kinds."""

HOST = "host"
"""The one deployment that is no container."""

DEPLOYMENTS = {
    HOST: "Host process",
    "docker": "docker run",
    "compose": "Docker Compose",
    "swarm-1": "Swarm, 1 replica",
    "swarm-3": "Swarm, 3 replicas",
}
"""Name on the command line and on disk -> title for people, in the order in which they are shown."""
