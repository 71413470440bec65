"""What an agent answers, as JSON: the readings of its node's containers, and its clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from _node_containers import Reading

from _counters import Counters, Interface

TOKEN_PREFIX = "Bearer "  # noqa: S105  a word of HTTP (RFC 6750)
PATH = "/counters"
DEFAULT_PORT = 5701

MOST_CONTAINERS = 1000
MOST_QUESTION_BYTES = MOST_CONTAINERS * 70
MOST_ANSWER_BYTES = MOST_CONTAINERS * 4000


@dataclass(frozen=True)
class NodeAnswer:
    """``node`` is the host name, ``node_id`` the swarm's name of the node. The times are by the node's clock: when the
    question had come, and when the answer was ready."""

    node: str
    node_id: str
    received_unix_s: float
    ready_unix_s: float
    readings: Mapping[str, Reading]

    def to_json(self) -> bytes:
        content = {
            "node": self.node,
            "node_id": self.node_id,
            "received_unix_s": self.received_unix_s,
            "ready_unix_s": self.ready_unix_s,
            "containers": {id: _reading_json(reading) for id, reading in self.readings.items()},
        }
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes) -> NodeAnswer:
        """
        Raises:
            ValueError: it is no such answer.
        """
        try:
            said = json.loads(content)
            readings = {str(id): _reading(told) for id, told in said["containers"].items()}
            times = float(said["received_unix_s"]), float(said["ready_unix_s"])
            return cls(str(said["node"]), str(said["node_id"]), *times, readings)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"no answer of an agent: {error!r}") from error


def _reading_json(reading: Reading) -> dict[str, Any]:
    if reading.counters is None:
        return {"missing": reading.missing, "is_gone": reading.is_gone}
    counters = {field.name: getattr(reading.counters, field.name) for field in fields(Counters)}
    return {"counters": counters, "sources": dict(reading.sources)}


def _reading(said: Mapping[str, Any]) -> Reading:
    if "counters" not in said:
        return Reading(missing=str(said["missing"]), is_gone=said["is_gone"] is True)
    told = dict(said["counters"])
    networks = told.pop("networks")
    known = None if networks is None else {name: Interface(*counts) for name, counts in networks.items()}
    return Reading(Counters(networks=known, **told), sources=dict(said["sources"]))
