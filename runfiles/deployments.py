"""The deployments: their names on the command line and on disk, and their titles."""

from __future__ import annotations

HOST = "host"
"""The one deployment that is no container."""

SWARM = "swarm"
"""The kind of those that Swarm runs. Their names have the number of replicas behind it."""

DEPLOYMENTS = {
    HOST: "Host process",
    "docker": "docker run",
    "compose": "Docker Compose",
    "swarm-1": "Swarm, 1 replica",
    "swarm-3": "Swarm, 3 replicas",
}
"""Name on the command line and on disk -> title for people, in the order in which they are shown."""
