"""Asks the agents of a swarm's nodes for the counters of their containers."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import gevent
from _node_answer import MOST_ANSWER_BYTES, PATH, TOKEN_PREFIX, NodeAnswer
from _node_clocks import Offset, better, offset
from _node_containers import Reading

ANSWER_S = 3.0
"""As long as a Docker engine is given."""

FIRST_QUESTIONS = 5
"""To a new agent, for its clock: the quickest answer tells it best."""

FRESH_S = 0.05
"""An answer is for all replicas that are to be sampled at one moment. They ask within so many seconds."""

logger = logging.getLogger("fourfold.agents")


class AgentFailure(OSError):
    """An agent, or what it should read, can't be read. The message names its node."""


@dataclass
class _Node:
    """What is known of one node: its agent's address (None: not known now), and the answer that is being shared out."""

    name: str
    address: str | None = None
    why_not: str = "it has no address"
    wanted: frozenset[str] = frozenset()
    untaken: dict[str, Reading] = field(default_factory=dict)
    answered_at_s: float = -FRESH_S
    asking: gevent.Greenlet | None = None
    clock: Offset | None = None

    def take(self, id: str) -> Reading | None:
        """The reading of a container, once. None: it was taken, or the answer is too old."""
        is_fresh = time.monotonic() - self.answered_at_s <= FRESH_S
        return self.untaken.pop(id, None) if is_fresh else None


class Agents:
    """The agents that a DNS name has the addresses of. It keeps nothing open between two questions.

    Args:
        where: HOST:PORT. The host, such as ``tasks.SERVICE`` in a swarm, is resolved at each look.
        token: what the agents ask for.
    """

    def __init__(self, where: str, token: str) -> None:
        self._host, _, port = where.rpartition(":")
        self._port = int(port)
        self._headers = {"Authorization": TOKEN_PREFIX + token}
        self._nodes: dict[str, _Node] = {}
        self._silent: dict[str, str] = {}  # address -> why nobody has answered there at the last look

    def look(self, wanted: Mapping[tuple[str, str], Collection[str]]) -> None:
        """Find out which agents there are, and how far their clocks are ahead.

        Args:
            wanted: the containers that are to be read, by the ID and the name of their node.
        """
        for (id, name), containers in wanted.items():
            self._nodes.setdefault(id, _Node(name)).wanted = frozenset(containers)
        self._silent.clear()
        asked = [gevent.spawn(self._meet, address) for address in self._addresses()]
        gevent.joinall(asked, timeout=ANSWER_S * 2)
        found = dict(filter(None, (each.value for each in asked)))
        for id, node in self._nodes.items():
            node.address = found.get(id)
            if node.address is None and node.clock is None and self._silent:  # it may be one of those
                node.why_not = "; ".join(f"{address}: {why}" for address, why in sorted(self._silent.items()))

    def read(self, node_id: str, container_id: str) -> Reading:
        """The reading of a container now, with its time by this machine's clock.

        All containers of a node that are read at one moment share one question.

        Raises:
            AgentFailure: the node's agent does not answer.
        """
        node = self._nodes[node_id]
        node.wanted |= {container_id}
        reading = node.take(container_id)
        while reading is None:
            if node.asking is None:
                node.asking = gevent.spawn(self._ask_for_all, node)
            failure = node.asking.get()
            if failure is not None:
                raise AgentFailure(f"the agent of node {node.name} does not answer: {failure}")
            reading = node.take(container_id)
        if reading.counters is None or node.clock is None:
            return reading
        read_at_unix_s = reading.counters.read_at_unix_s - node.clock.ahead_s
        return replace(reading, counters=replace(reading.counters, read_at_unix_s=read_at_unix_s))

    def clocks(self) -> dict[str, Offset]:
        """How far the clocks of the nodes are ahead of this machine's, by the nodes' names."""
        return {node.name: node.clock for node in self._nodes.values() if node.clock is not None}

    def _addresses(self) -> list[str]:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            logger.debug("%s: %s", self._host, error)
            return []
        return sorted({str(address[0]) for *_, address in found})

    def _meet(self, address: str) -> tuple[str, str] | None:
        """The ID of the node whose agent is at an address, and the address; None: nobody answers rightly."""
        known = next((node for node in self._nodes.values() if node.address == address), None)
        try:
            for _ in range(FIRST_QUESTIONS if known is None or known.clock is None else 1):
                answer, clock = self._ask(address, ())
                node = self._nodes.setdefault(answer.node_id, _Node(answer.node))
                node.clock = better(node.clock, clock)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if known is not None:
                known.why_not = _explained(error)
            self._silent[address] = _explained(error)
            return None
        return answer.node_id, address

    def _ask_for_all(self, node: _Node) -> str | None:
        """Ask a node's agent for all of its containers. Returns why it does not answer; None if it has."""
        try:
            if node.address is None:  # the next look may find one
                return node.why_not
            answer, clock = self._ask(node.address, sorted(node.wanted))
            node.clock = better(node.clock, clock)
            node.untaken = dict(answer.readings)
            node.answered_at_s = time.monotonic()
        except (OSError, ValueError, http.client.HTTPException) as error:
            node.why_not = _explained(error)
            return node.why_not
        else:
            return None
        finally:
            node.asking = None

    def _ask(self, address: str, containers: Sequence[str]) -> tuple[NodeAnswer, Offset]:
        """
        Raises:
            OSError, http.client.HTTPException: no answer came.
            ValueError: it is no answer of an agent.
        """
        with gevent.Timeout(ANSWER_S, TimeoutError()):
            connection = http.client.HTTPConnection(address, self._port, timeout=ANSWER_S)
            try:
                connection.connect()
                sent_s = time.time()
                connection.request("POST", PATH, json.dumps({"containers": containers}), self._headers)
                response = connection.getresponse()
                content = response.read(MOST_ANSWER_BYTES)
                answered_s = time.time()
            finally:
                connection.close()
        if response.status != 200:
            raise ValueError(f"it says {response.status} {response.reason}")
        answer = NodeAnswer.from_json(content)
        return answer, offset(sent_s, answer.received_unix_s, answer.ready_unix_s, answered_s)


def _explained(error: Exception) -> str:
    """Why an agent did not answer; the same failure always in the same words."""
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_S:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens at its address"
    if isinstance(error, ValueError):
        return str(error)
    return "the connection broke off" if isinstance(error, (ConnectionError, http.client.HTTPException)) else str(error)
