"""An open workload: each request is sent when it is due, whether or not earlier ones are answered."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gevent
from _open_counts import DUE, LATE
from gevent.pool import Group
from locust.env import Environment
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser
from locust.runners import MasterRunner, WorkerRunner

from runfiles.events import DROPPED, KEPT, LATE_MS, OVER_BOUND, UNANSWERED
from runfiles.spikes import Spike, read_spike

from _arrivals import Arrivals
from _client import Client
from _exchange import Exchange, new_client, report, url_of
from _recording import Recording
from _timer import Timer
from _visits import Visit

ALL_USERS = "fourfold_all_users"
"""The message with which a master tells its workers how many users there are in all, and for how long its run has gone
on."""

GIVEN_UP_AFTER_S = 1.0
"""An arrival whose time is so long past when its turn comes is dropped: the load generator can't keep the rate."""

LOOK_EVERY_S = 0.5
"""While no arrival is due, as before the first block: how often the rate is looked at."""

_NONE_YET = object()

logger = logging.getLogger("fourfold")


class OpenLoad:
    """The arrivals of this process, as long as it has users. Each user brings an equal share of the rate.

    Connections are taken from a pool: the one used last comes first, and a new one is opened if all are busy. An
    arrival that is not sent, or not answered before the users are stopped, is noted with ``environment.fourfold``.
    ``counts`` has the numbers since the run began, by the words of ``OPEN_COUNTS``.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._timer = Timer()
        self._due_s = self._rate_per_s = 0.0
        self._spikes: Sequence[Spike] = ()  # by the clock of ``_due_s``
        self._block: Any = _NONE_YET  # of the last arrival since the load turned to where it goes now
        self._users = 0
        self._all_users = 0
        self.counts: Counter[str] = Counter()
        self._scheduler: gevent.Greenlet | None = None
        self._senders = Group()
        self._due_unix_s: dict[gevent.Greenlet, tuple[float, int | None]] = {}
        self._idle: dict[str, list[Client]] = {}
        self._places: dict[str, Sequence[Any]] = {}

    def register(self) -> None:
        """Begin to count with each run, and know how many users there are in all processes: a master tells its
        workers."""
        runner, events = self._environment.runner, self._environment.events
        events.test_start.add_listener(self._begin_to_count)
        if isinstance(runner, WorkerRunner):
            runner.register_message(ALL_USERS, self._note_all_users)
        elif isinstance(runner, MasterRunner):
            events.test_start.add_listener(self._tell_all_users)
            events.spawning_complete.add_listener(self._tell_all_users)

    def _begin_to_count(self, **_: Any) -> None:
        self.counts.clear()
        options = self._environment.parsed_options
        if not isinstance(self._environment.runner, WorkerRunner):
            self._know_the_spikes(self._run_s())
        if not options.blocks and not isinstance(self._environment.runner, WorkerRunner):
            whose = " of each user" if self._environment.shape_class is not None else ""
            logger.info("requests are due at %g per second%s (--rate), %s", options.rate, whose, options.arrivals)

    def _run_s(self) -> float:
        """For how long the run has gone on, by its record if there is one."""
        recording = self._environment.fourfold.recording
        return recording.run_s() if isinstance(recording, Recording) else 0.0

    def _know_the_spikes(self, run_s: float) -> None:
        options = self._environment.parsed_options
        measured_from_s = time.perf_counter() - run_s + options.warm_up
        in_order = sorted(map(read_spike, options.spike), key=lambda spike: spike.at_s)
        self._spikes = [replace(spike, at_s=measured_from_s + spike.at_s) for spike in in_order]

    def take_counts(self) -> dict[str, int]:
        """What was counted since this was asked last."""
        taken = dict(self.counts)
        self.counts.clear()
        return taken

    def expect_users(self, number: int) -> None:
        """While a load runs, its number of users changes to ``number``. Until that is done no worker counts with fewer
        users than there are, or the workers together would send more than the rate."""
        runner = self._environment.runner
        if isinstance(runner, MasterRunner):
            self._tell_workers(runner, max(number, runner.target_user_count))

    def _note_all_users(self, msg: Any, **_: Any) -> None:
        self._all_users, run_s = msg.data
        self._know_the_spikes(run_s)
        self.begin_anew()

    def _tell_all_users(self, **_: Any) -> None:
        self._tell_workers(self._environment.runner, self._environment.runner.target_user_count)

    def _tell_workers(self, master: MasterRunner, users: int) -> None:
        master.send_message(ALL_USERS, (users, self._run_s()))

    @property
    def in_flight(self) -> int | None:
        """How many requests this process has sent that are not answered yet; None: it has no users."""
        return len(self._due_unix_s) if self._users else None

    def add_user(self) -> None:
        """A user begins: its share of the arrivals begins too."""
        if not self._users:
            options, runner = self._environment.parsed_options, self._environment.runner
            self._arrivals = Arrivals(options.arrivals, f"{options.seed}/{runner.worker_index}")
        self._users += 1
        self.begin_anew()

    def remove_user(self) -> None:
        """A user is stopped. With the last one all requests that are not answered are given up."""
        self._users -= 1
        if self._users:
            self.begin_anew()
            return
        self._stop_scheduler()
        try:
            self._senders.join(timeout=self._environment.stop_timeout)
        finally:
            self.give_up()
            self._close_connections()

    def give_up(self) -> None:
        """Wait no longer for the requests that are unanswered."""
        for due_unix_s, block in self._due_unix_s.values():  # first: the last of them that ends is reported at once
            self._note_unsent(due_unix_s, block, UNANSWERED)
        self._due_unix_s.clear()
        self._senders.kill()

    def _close_connections(self) -> None:
        for clients in self._idle.values():
            for client in clients:
                client.close()
        self._idle.clear()

    def begin_anew(self) -> None:
        """The rate has changed, or where the load goes: count from now."""
        self._stop_scheduler()
        if self._users:
            self._scheduler = gevent.spawn(self._send_when_due)

    def leave(self) -> None:
        """Send what is due already and was not reached yet, then nothing more for the present. The CPU of all replicas
        was read just now, in which time nothing could be sent."""
        has_begun, now_s = self._block is not _NONE_YET, time.perf_counter()
        self._stop_scheduler()
        while has_begun and self._due_s < now_s:
            self._arrive(self._due_s)
            self._due_s = self._arrivals.next_after(self._due_s, self._rate_per_s, self._spikes)
        self._block = _NONE_YET

    def _stop_scheduler(self) -> None:
        if self._scheduler is not None and self._scheduler is not gevent.getcurrent():
            self._scheduler.kill()
        self._scheduler, self._block = None, _NONE_YET

    def rate_per_s(self) -> float:
        """What this process sends now: the whole rate by the share of its users, or with a ``LoadTestShape`` the rate
        of one user by their number. 0: nothing, as between blocks."""
        environment, runner = self._environment, self._environment.runner
        if not environment.fourfold.visits.is_on:
            return 0.0
        rate: float = environment.fourfold.visits.rate_per_s or environment.parsed_options.rate
        if environment.shape_class is not None:
            return rate * self._users
        all_users = self._all_users if isinstance(runner, WorkerRunner) else runner.target_user_count
        return rate * min(1.0, self._users / all_users) if all_users else 0.0  # users that are too many are yet to stop

    def _send_when_due(self) -> None:
        self._due_s = time.perf_counter()
        while True:
            self._rate_per_s = self.rate_per_s()
            if self._rate_per_s <= 0:
                gevent.sleep(LOOK_EVERY_S)
                self._due_s = time.perf_counter()
                continue
            self._due_s = self._arrivals.next_after(self._due_s, self._rate_per_s, self._spikes)
            self._timer.wait_until(self._due_s)
            if self._environment.fourfold.visits.is_on:
                self._arrive(self._due_s)

    def _arrive(self, due_s: float) -> None:
        behind_s = time.perf_counter() - due_s
        options, visits = self._environment.parsed_options, self._environment.fourfold.visits
        why = None
        if behind_s > GIVEN_UP_AFTER_S:
            why = DROPPED
        elif len(self._senders) >= options.most_in_flight:
            why = OVER_BOUND
        visit = visits.begin_request()
        self.counts[DUE] += 1
        self._block = visit.block
        due_unix_s = time.time() - behind_s
        if why is not None:
            visits.end_request(visit)
            self._note_unsent(due_unix_s, visit.block, why)
            return
        sender = self._senders.spawn(self._send, due_s, visit)
        self._due_unix_s[sender] = due_unix_s, visit.block

    def _note_unsent(self, due_unix_s: float, block: int | None, why: str) -> None:
        self.counts[why] += 1
        self._environment.fourfold.note_unsent(due_unix_s, block, why)

    def _send(self, due_s: float, visit: Visit) -> None:
        """Send one request, and report it. The greenlet of a request ends with it."""
        environment = self._environment
        text = next(environment.texts)
        host = visit.host
        idle = self._idle.setdefault(host, [])
        client = idle.pop() if idle else self._new_client(host)
        try:
            answer = client.send(text.target, text.body, due_s=due_s)
        except BaseException:  # the load is stopped
            environment.fourfold.visits.end_request(visit)
            raise
        self._places[host] = client.places
        idle.append(client)
        self._due_unix_s.pop(gevent.getcurrent(), None)  # from here on it is one that is answered
        self.counts[LATE] += (answer.send_delay_ms or 0) > LATE_MS
        try:
            report(environment, Exchange(text, visit, url_of(client, text), answer))
        except (StopUser, StopTest, RescheduleTask, RescheduleTaskImmediately, InterruptTaskSet) as steering:
            logger.debug("a listener raised %r, which steers a user that asks one request at a time", steering)

    def _new_client(self, host: str) -> Client:
        keeps = self._environment.parsed_options.connection == KEPT
        return new_client(self._environment, host, keeps_connection=keeps, places=self._places.get(host, ()))
