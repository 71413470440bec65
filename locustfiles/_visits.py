"""Where the load is now: which deployment the users of this process send their next request to."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.runners import WorkerRunner

VISIT, LEAVE, GIVE_UP = "fourfold_visit", "fourfold_leave", "fourfold_give_up"
"""Messages to the processes that have users. ``VISIT``: turn to the target in its data; without a host, send nothing
until the next visit. ``LEAVE``: the measured part of the block is over; go on, or send nothing more if its data says
``stops``, and tell when it is answered. ``GIVE_UP``: an open workload waits no longer for what is unanswered."""

ANSWERED = "fourfold_answered"
"""The answer to each of them: all requests of the block before are answered (``VISIT``), or all those that this block
sent until ``LEAVE``. It names the block, the message that it answers, and the process that has the users."""


@dataclass(slots=True, eq=False)
class Visit:
    """One stretch of load on one deployment: the base URL that requests go to, their name in Locust's statistics, and
    the number of the block (None: the load is not in blocks).

    ``unanswered``: how many requests were begun in it and are not answered yet.
    """

    host: str
    request_name: str
    block: int | None = None
    unanswered: int = 0


class Visits:
    """Tells each user where its next request goes. This load is in one piece, at Locust's host."""

    is_on = True
    """Whether ``begin_request`` returns at once."""

    rate_per_s: float | None = None
    """The rate of an open workload in this visit; None: that of the option."""

    def __init__(self, environment: Environment) -> None:
        self._visit = Visit(environment.host or "", environment.fourfold.asked.service.request.name)

    def begin_request(self) -> Visit:
        """The visit that the next request belongs to. A load in blocks may keep the user waiting here."""
        return self._visit

    def end_request(self, visit: Visit) -> None:
        """Note that a request has been answered or has failed, after Locust's event ``request`` was fired for it."""

    def begin_pass(self, number: int) -> None:
        """The next request begins a pass over all texts."""
        self._visit = Visit(self._visit.host, self._visit.request_name, number)


class BlockVisits(Visits):
    """Visits as the load in blocks (_block_load.py) tells them. Until the first, and after the last, users wait.

    Each block has two of them: its first visit lasts to the end of the measured part, its second while the requests of
    the first are answered.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._runner = environment.runner
        self._present: Visit | None = None
        self._before: tuple[Visit, ...] = ()
        self._awaited: set[Visit] = set()
        self._answer: Callable[[], object] | None = None
        self._is_on = Event()

    @property
    def is_on(self) -> bool:  # type: ignore[override]
        return self._present is not None

    def begin_request(self) -> Visit:
        while (visit := self._present) is None:
            self._is_on.wait()
        visit.unanswered += 1
        return visit

    def end_request(self, visit: Visit) -> None:
        visit.unanswered -= 1
        if not visit.unanswered and visit is not self._present:
            self._note_answered(visit)

    def turn(self, data: dict[str, Any]) -> None:
        """The message ``VISIT``."""
        left = self._left()
        self._before = ()
        self._present = Visit(data["host"], data["request_name"], data["block"]) if data["host"] else None
        self.rate_per_s = data.get("rate_per_s")
        if self._present is not None:
            self._is_on.set()
        else:
            self._is_on.clear()
        self._tell_when_answered(left, VISIT, data["block"])

    def leave(self, data: dict[str, Any]) -> None:
        """The message ``LEAVE``. A process that had no users at ``VISIT`` has nothing to leave."""
        left = self._left()
        if data["stops"]:
            self._present = None
            self._is_on.clear()
        elif self._present is not None:
            self._present = Visit(self._present.host, self._present.request_name, self._present.block)
        self._before = left
        self._tell_when_answered(left, LEAVE, data["block"])

    def _left(self) -> tuple[Visit, ...]:
        return self._before if self._present is None else (*self._before, self._present)

    def _tell_when_answered(self, visits: tuple[Visit, ...], message: str, block: int) -> None:
        data = {"block": block, "to": message, "node": platform.node(), "pid": os.getpid()}
        self._awaited = {visit for visit in visits if visit.unanswered}
        self._answer = lambda: self._send(data)
        self._tell_if_answered()

    def _note_answered(self, visit: Visit) -> None:
        self._awaited.discard(visit)
        self._tell_if_answered()

    def _tell_if_answered(self) -> None:
        if not self._awaited and self._answer is not None:
            gevent.spawn(self._answer)  # in no user's time
            self._answer = None

    def _send(self, data: dict[str, Any]) -> None:
        """A worker's rows of the block go first, so that the master has them when the block ends."""
        if isinstance(self._runner, WorkerRunner):
            self._runner._send_stats()
        self._runner.send_message(ANSWERED, data)
