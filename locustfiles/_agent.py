"""An agent: tells the counters of this node's containers, over HTTP, to whoever has the token.

``python _agent.py`` on each node of a swarm (``stack-monitor.yml``). It takes the place of the node's Docker socket: it
can read counters, and do nothing. Who does not have the token is told nothing, not even which paths there are.

Environment: NODE_NAME and NODE_ID, which it tells; PORT (5701); TOKEN_FILE (/run/secrets/fourfold_agent_token); PROC
and CGROUP, the node's /proc and /sys/fs/cgroup (below /host).
"""

from __future__ import annotations

import hmac
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

# It may be started in any folder. This one holds runfiles/.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from _node_answer import DEFAULT_PORT, MOST_CONTAINERS, MOST_QUESTION_BYTES, PATH, TOKEN_PREFIX, NodeAnswer
from _node_containers import CONTAINER_ID, NodeContainers

from _read_cgroup import Roots

LEAST_TOKEN_CHARACTERS = 20

CONNECTION_S = 5.0
"""So long a client may take from its connection to the end of its answer. If slow ones hold all connections, others
wait as long."""

MOST_CONNECTIONS = 64

Environ = Mapping[str, Any]
Respond = Callable[[str, list[tuple[str, str]]], Any]


class Handler(WSGIHandler):
    """One connection, for one request and for at most ``CONNECTION_S``."""

    def handle(self) -> None:
        with gevent.Timeout(CONNECTION_S, False):
            super().handle()

    def read_request(self, raw_requestline: str) -> bool:
        is_one = bool(super().read_request(raw_requestline))
        self.close_connection = True
        return is_one


class Agent:
    """The WSGI application."""

    def __init__(self, containers: NodeContainers, token: str, node: str, node_id: str) -> None:
        self._containers = containers
        self._expected = (TOKEN_PREFIX + token).encode()
        self._node = node
        self._node_id = node_id

    def __call__(self, environ: Environ, respond: Respond) -> Iterable[bytes]:
        received_unix_s = time.time()
        if not hmac.compare_digest(environ.get("HTTP_AUTHORIZATION", "").encode("latin-1"), self._expected):
            return _refuse("401 Unauthorized", respond)
        if environ["PATH_INFO"] != PATH:
            return _refuse("404 Not Found", respond)
        if environ["REQUEST_METHOD"] != "POST":
            return _refuse("405 Method Not Allowed", respond)
        ids = _question(environ)
        if ids is None:
            return _refuse("400 Bad Request", respond)
        readings = self._containers.read(ids)
        answer = NodeAnswer(self._node, self._node_id, received_unix_s, time.time(), readings).to_json()
        respond("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return [answer]


def serve(agent: Agent, host: str, port: int) -> WSGIServer:
    """A server that has begun to listen. Port 0: a free one."""
    server = WSGIServer(
        (host, port), agent, handler_class=Handler, spawn=Pool(MOST_CONNECTIONS), log=None, error_log=sys.stderr
    )
    server.start()
    return server


def _question(environ: Environ) -> list[str] | None:
    """The full IDs of the containers that are asked for; None: it is no such question."""
    length = str(environ.get("CONTENT_LENGTH") or "0")
    if not length.isdecimal() or int(length) > MOST_QUESTION_BYTES:
        return None
    try:
        ids = json.loads(environ["wsgi.input"].read(int(length)))["containers"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_right = isinstance(ids, list) and len(ids) <= MOST_CONTAINERS
    return ids if is_right and all(isinstance(id, str) and CONTAINER_ID.fullmatch(id) for id in ids) else None


def _refuse(status: str, respond: Respond) -> Iterable[bytes]:
    respond(status, [("Content-Length", "0")])
    return []


def main() -> None:
    token_file = Path(os.environ.get("TOKEN_FILE", "/run/secrets/fourfold_agent_token"))
    try:
        token = token_file.read_text().strip()
    except (OSError, ValueError) as error:
        sys.exit(f"error: the token can't be read from {token_file} ({error}); make the secret fourfold_agent_token")
    if len(token) < LEAST_TOKEN_CHARACTERS or not token.isascii():
        sys.exit(f"error: the token has fewer than {LEAST_TOKEN_CHARACTERS} ASCII characters; make a longer one")
    host_files = Roots(
        Path(os.environ.get("PROC", "/host/proc")), Path(os.environ.get("CGROUP", "/host/sys/fs/cgroup"))
    )
    if not (host_files.proc / "1" / "cgroup").exists():
        print(f"warning: {host_files.proc} does not show the processes of this node", file=sys.stderr)
    agent = Agent(
        NodeContainers(host_files),
        token,
        os.environ.get("NODE_NAME") or os.uname().nodename,
        os.environ.get("NODE_ID", ""),
    )
    server = serve(agent, "0.0.0.0", int(os.environ.get("PORT", DEFAULT_PORT)))  # noqa: S104  its network is its own
    for ending in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(ending, server.stop)
    server.serve_forever()


if __name__ == "__main__":
    main()
