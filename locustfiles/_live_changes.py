"""Buttons on the page of the web UI: a replica is killed, paused or goes on, a Swarm service is scaled.

Locust itself changes nothing. It starts ``python -m infra change``, which refuses what its checkout has not started.
The route exists only with ``--live-changes``. Locust lets other pages read its answers (it sets CORS for any origin),
so a token alone would protect nothing: a page of another origin gets neither the token nor the route. The checks are
those of OWASP's Cross-Site Request Forgery Prevention Cheat Sheet: a token, and the headers Origin and Host.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import os
import platform
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request

from runfiles.deployments import MOST_REPLICAS
from runfiles.events import KILL, PAUSE, PROCESS, RESUME, SCALE, SWARM_SERVICE
from runfiles.lines import tidy
from runfiles.places import FOLDER_VARIABLE, ROOT, WORK

if TYPE_CHECKING:  # importing Locust patches sockets, which reading figures does not need
    from locust.env import Environment

    from _recording import Recording

PAUSED = "paused"
"""The state of a container, as an engine says it."""

TO_ONE_REPLICA = (KILL, PAUSE, RESUME)
TOKEN_HEADER = "X-CSRF-Token"  # noqa: S105  its name
LONGEST_S = 120.0
"""A command that takes longer is ended. What it has begun may be done or not."""
LONGEST_REQUEST_BYTES = 2000

SAFE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
}
"""Of the page that has the token: no other page shows it in a frame, where a user could be led to press a button
(OWASP, Clickjacking Defense Cheat Sheet), and no cache keeps it."""

LOOPBACK_HOSTS = ("", "127.0.0.1", "::1", "localhost")

logger = logging.getLogger("fourfold")


@dataclass(frozen=True)
class Asked:
    """What a button asks for. ``replica`` is the name of its samples, ``replicas`` a number, ``+1`` or ``-1``."""

    action: str
    replica: str | None = None
    replicas: str | None = None


class Refused(Exception):
    """What is asked is not done. The message says why, and ``status`` is that of the answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class LiveChanges:
    """Makes changes, one at a time.

    Args:
        environment: that of the Locust process.
        recording: gives the recording of the run that is shown; None: there is none.
        is_running: whether a load runs.
    """

    def __init__(
        self, environment: Environment, recording: Callable[[], Recording | None], is_running: Callable[[], bool]
    ) -> None:
        self.token = secrets.token_urlsafe(32)
        self.web_host = environment.parsed_options.web_host or ""
        self._service = environment.parsed_options.service
        self._recording = recording
        self._is_running = is_running
        self._is_busy = False
        environment.web_ui.app.config |= {"SESSION_COOKIE_SAMESITE": "Lax", "REMEMBER_COOKIE_SAMESITE": "Lax"}
        if self.web_host not in LOOPBACK_HOSTS[1:] and not environment.parsed_options.web_login:
            logger.warning(
                "everybody who reaches the web UI can kill and scale the deployment (--live-changes); "
                "add --web-host 127.0.0.1, unless that is meant"
            )

    def shown(self) -> dict[str, Any]:
        """What the page shows: which replicas can be changed, and which of them are paused; whether the service can be
        scaled; what was done."""
        recording = self._recording()
        if recording is None:
            return {"replicas": [], "paused": [], "can_scale": False, "made": []}
        live = recording.live
        target = recording.target() if self._is_running() else None
        sampled = [each for each in live.replicas() if each.last and each.is_up is not False]
        return {
            "replicas": [each.name for each in sampled] if target is not None else [],
            "paused": [each.name for each in sampled if is_paused(each.name, each.last["state"], live.changes)],
            "can_scale": target is not None and target.kind == SWARM_SERVICE,
            "made": [
                {
                    "at_s": round(row["began_at_unix_s"] - live.started_at_s, 1),
                    "action": row["action"],
                    "text": in_words(row),
                    "failed": bool(row["error"]),
                }
                for row in live.changes
            ],
        }

    def make(self, asked: Asked) -> str:
        """Make a change, note it in the run's files, and return it in words.

        Raises:
            Refused: it is not made.
        """
        recording = self._recording()
        if recording is None or not self._is_running():
            raise Refused("no load runs; start one first", 409)
        target = recording.target()
        if target is None:
            raise Refused("no replica is sampled, so nobody knows what to change; name them (--replicas)", 409)
        if asked.replica is not None and asked.replica not in self.shown()["replicas"]:
            raise Refused(f"no replica of this load is called {asked.replica}", 409)
        if self._is_busy:
            raise Refused("another change is being made; wait until it is done", 409)
        self._is_busy = True
        try:
            row = self._row(asked, str(target), is_process=target.kind == PROCESS)
        finally:
            self._is_busy = False
        recording.add_change(row)
        if row["error"]:
            raise Refused(row["error"], 409)
        return in_words(row)

    def _row(self, asked: Asked, target: str, *, is_process: bool) -> dict[str, Any]:
        """Have the change made. Returns it as a row of ``PREFIX_changes.csv``, also if it could not be made."""
        due_unix_s, error, said = time.time(), "", {}
        command = [sys.executable, "-m", "infra", "change", target, asked.action, "--json"]
        command.append(f"--service={Path(self._service).resolve()}")
        command += [f"--replica={asked.replica}"] if asked.replica is not None and not is_process else []
        command += [f"--replicas={asked.replicas}"] if asked.replicas is not None else []
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | {FOLDER_VARIABLE: str(WORK)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                start_new_session=True,  # Ctrl-C is for Locust; a change that has begun is finished
                timeout=LONGEST_S,
                check=False,
            )
            if done.returncode == 0:
                said = json.loads(done.stdout)
            else:
                error = tidy((done.stderr.strip() or "no reason was given").splitlines()[-1].removeprefix("error: "))
        except subprocess.TimeoutExpired:
            error = f"it was not done within {LONGEST_S:g} s"
        except (OSError, ValueError) as failure:
            error = tidy(f"the command that makes changes failed: {failure}")
        row = {"began_at_unix_s": due_unix_s, "ended_at_unix_s": time.time(), "detail": ""} | said
        named = {"action": asked.action, "replica": asked.replica or "", "due_at_unix_s": due_unix_s, "error": error}
        return row | named


def add_changes(pages: Blueprint, web: Any, changes: LiveChanges) -> None:
    """Add the route that makes changes."""

    @pages.route("/replicas/change", methods=["POST"])
    @web.auth_required_if_enabled
    def change() -> Response:
        # Answers are returned, not raised: with --web-login Locust turns what is raised into a page of status 200.
        try:
            said = _made_as_asked(changes)
        except Refused as refused:
            answer = jsonify({"error": str(refused)})
            answer.status_code = refused.status
            return answer
        return jsonify({"made": said})


def _made_as_asked(changes: LiveChanges) -> str:
    """Make the change that this request asks for, if the page of this web UI sent it."""
    if reason := why_foreign(dict(request.headers), request.scheme, changes.web_host, is_change=True):
        raise Refused(reason, 403)
    if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), changes.token.encode()):
        raise Refused("the page is of an earlier start of Locust; load it again", 403)
    if (request.content_length or 0) > LONGEST_REQUEST_BYTES:
        raise Refused("the request is too long", 413)
    return changes.make(asked_of(request.get_json(silent=True)))


def why_foreign(headers: Mapping[str, str], scheme: str, web_host: str, *, is_change: bool) -> str | None:
    """Why a request may come from a page that is not of this web UI; None: nothing shows that.

    Browsers name the page's origin in the header Origin: with each POST, and with each GET whose answer a page of
    another origin wants to read. A name in Host that is neither this machine's nor an address may have been made to
    point here by its owner (DNS rebinding): his page would then have the same origin.
    """
    host = headers.get("Host", "").lower()
    name = urlsplit(f"//{host}").hostname or ""
    if not _is_own_name(name, web_host):
        return f"{name or 'the host'} is not a name of this machine; open the page by its address, such as 127.0.0.1"
    origin = headers.get("Origin")
    if origin is None:
        return "the request does not say from which page it comes (Origin)" if is_change else None
    return None if origin.lower() == f"{scheme}://{host}" else "the request comes from another page"


def _is_own_name(name: str, web_host: str) -> bool:
    if name in {"localhost", platform.node().lower(), web_host.lower()} - {""}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def asked_of(body: object) -> Asked:
    """What the JSON of a request asks for.

    Raises:
        Refused: it is something else.
    """
    if isinstance(body, dict) and all(isinstance(value, str) for value in body.values()):
        action = body.get("action")
        if action in TO_ONE_REPLICA and set(body) == {"action", "replica"}:
            return Asked(action, replica=body["replica"])
        if action == SCALE and set(body) == {"action", "replicas"} and _is_number(body["replicas"]):
            return Asked(SCALE, replicas=body["replicas"])
    raise Refused(
        f"a change is {', '.join(TO_ONE_REPLICA)} with a replica, or {SCALE} with replicas: 1 to {MOST_REPLICAS}, "
        "+1 or -1",
        400,
    )


def _is_number(replicas: str) -> bool:
    if replicas in ("+1", "-1"):
        return True
    return re.fullmatch("[0-9]{1,4}", replicas) is not None and 1 <= int(replicas) <= MOST_REPLICAS


def is_paused(name: str, state: str, made: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a replica is paused, as its engine says. Nobody says that of a process, so the last button tells."""
    if state:
        return state == PAUSED
    own = [row["action"] for row in made if row["replica"] == name and not row["error"]]
    return own[-1:] == [PAUSE]


def in_words(row: Mapping[str, Any]) -> str:
    """A row of ``PREFIX_changes.csv`` as a sentence."""
    what = " ".join(filter(None, (row["action"], row["replica"])))
    return f"{what}: {row['error'] or row['detail']}"
