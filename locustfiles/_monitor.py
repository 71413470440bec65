"""The replica monitor: samples every replica on an absolute schedule, while the load runs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import gevent
from _replicas import NoReplicas, Replica, ReplicaSource
from gevent.event import Event
from gevent.pool import Group

from runfiles.columns import CPU
from runfiles.events import (
    ENDED,
    ENGINE_ANSWERS,
    ENGINE_SILENT,
    FOUND,
    NOT_SAMPLED,
    RESTARTED,
    SAMPLED_AGAIN,
    STARTED,
    UNSAMPLED,
)
from runfiles.records import ReplicaRecord

from _counters import Counters, began_anew, rates
from _read_docker import READ_FAILURES, explained

LEAST_INTERVAL_S = 0.05
FIND_EVERY_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
"""Between tries while the engine does not answer: each pause is twice the one before."""

FIRST_SAMPLE_S = 2.0
"""A slow engine does not keep the load from beginning: Locust's run time goes on meanwhile."""

LAST_SAMPLE_S = 5.0
"""A hung engine does not keep a run from ending."""

logger = logging.getLogger("fourfold.monitor")


class Monitor:
    """Follows the replicas of one target. It gives each sample to ``write_sample``, as a row of
    ``PREFIX_replica_stats.csv``, and each event to ``write_event``, as a row of ``PREFIX_replica_events.csv``.

    All replicas are sampled at the same moments, so that the load is interrupted as rarely as possible. The monitor
    never ends the load: if it can't sample, it logs the reason once and keeps it in ``problems``. The missing samples
    stay missing.
    """

    def __init__(
        self,
        finder: ReplicaSource,
        interval_s: float,
        write_sample: Callable[[dict[str, Any]], None],
        write_event: Callable[[dict[str, Any]], None],
        note_fault: Callable[[str, str], None] = lambda kind, text: None,
    ) -> None:
        self.finder = finder
        self.interval_s = max(interval_s, LEAST_INTERVAL_S)  # nobody checks the web UI's field
        self.problems: list[str] = []
        self._seen: dict[str, Replica] = {}
        self._sampled: set[str] = set()
        self._ended: set[str] = set()
        self._being_read: set[str] = set()
        self._write_sample = write_sample
        self._write_event = write_event
        self._note_fault = note_fault
        self._answered: set[str] = set()
        self._ended_at_unix_s: dict[str, float] = {}
        self._successors: set[str] = set()  # names that answered after the replica of that name had ended
        self._unknown: set[str] = set()
        self._told: set[str] = set()
        self._answers_as: dict[str, set[str]] = {}
        self._samplers: dict[str, gevent.Greenlet] = {}
        self._has_tried: dict[str, Event] = {}
        self._greenlets = Group()
        self._engine_answers = True
        self._began_at = time.monotonic()

    def start(self) -> None:
        self._find(event=FOUND)
        self._greenlets.spawn(self._follow)

    def await_first_samples(self) -> None:
        """Wait until each replica was sampled, or could not be: what the load does is then counted from its begin."""
        gevent.wait(list(self._has_tried.values()), timeout=FIRST_SAMPLE_S)

    def note_answer(self, name: str, started_at_unix_s: float = 0.0) -> None:
        """Note that this name (X-Replica) answered a request; empty: the answer had no name."""
        self._answered.add(name)
        if started_at_unix_s > self._ended_at_unix_s.get(name, math.inf):
            self._successors.add(name)

    def sample_now(self) -> dict[str, float] | None:
        """Take a sample of each replica at once. The load does not wait for an engine's API: what is read over it is
        sampled beside the load, or not at all if its reading goes on just now.

        Returns the CPU seconds that each replica has used, by its ID; None if not all are known.
        """
        used: dict[str, float] = {}
        there = [replica for id, replica in self._seen.items() if id not in self._ended]
        for replica in there:
            if replica.is_instant():
                if (now := self._sample_once(replica)) is not None:
                    used[replica.id] = now.cpu_seconds
            else:
                self._greenlets.spawn(self._sample_unless_read, replica)
        return used if used and len(used) == len(there) else None

    def stop(self) -> None:
        """Take a last sample of each replica and end. With the last sample the totals reach to the end of the run."""
        if self._unsampled():
            self._find(STARTED)  # it may have come since the last look
        there = [replica for id, replica in self._seen.items() if id in self._samplers]
        self._greenlets.kill()
        gevent.joinall([gevent.spawn(self._sample_once, replica) for replica in there], timeout=LAST_SAMPLE_S)
        self._tell_unsampled(self._unsampled())
        self.finder.close()

    def record(self) -> tuple[ReplicaRecord, ...]:
        """All replicas seen, for the record of the run."""
        return tuple(
            ReplicaRecord(
                name=replica.name,
                id=replica.id,
                answers_as=tuple(sorted(self._answers_as.get(replica.id, ()))),
                node=replica.node,
                sampled=replica.id in self._sampled,
                reason=replica.reason,
                sources=dict(replica.sources()),
            )
            for replica in self._seen.values()
        )

    def sampling(self) -> str | None:
        """How the CPU of the replicas is read, for the record of the run; None if none was sampled."""
        ways = {way for replica in self._seen.values() if (way := replica.sources().get(CPU))}
        return "; ".join(sorted(ways)) or None

    def _follow(self) -> None:
        pause = FIND_EVERY_S
        while True:
            gevent.sleep(pause)
            pause = FIND_EVERY_S if self._find(STARTED) else min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, pause * 2))
            names = self._unsampled()
            if names and names <= self._unknown:  # the next look may find a replica that has just started
                self._tell_unsampled(names)
            self._unknown = names

    def _unsampled(self) -> set[str]:
        """Names that answered and belong to no sampled replica, without those that were reported before.

        An answer without a name counts only if nothing is sampled.
        """
        sampled = self._sampled_replicas()
        there = {name for replica in sampled if replica.id not in self._ended for name in (replica.name, replica.id)}
        ended = {name for replica in sampled if replica.id in self._ended for name in (replica.name, replica.id)}
        nameless = {""} if sampled else set()
        return self._answered - self._told - there - (ended - self._successors) - nameless

    def _tell_unsampled(self, names: set[str]) -> None:
        """Warn once of the names that answered and are not sampled. Other names of sampled replicas are left out."""
        self._told |= names
        successors = names & self._successors
        why = "name what answers with --replicas"
        with gevent.Timeout(LAST_SAMPLE_S, False):
            if names:
                self._learn_other_names(names)
            names = names.difference(*self._answers_as.values())
            reasons = [seen.reason for seen in self._seen.values() if seen.reason and {seen.name, seen.id} & names]
            if names - {""}:
                why = reasons[0] if reasons else self.finder.explain_unsampled(sorted(names - {""}))
        if names:
            text = self._unsampled_text(names, successors, why)
            self._problem(text)
            self._note_fault(UNSAMPLED, text)

    def _learn_other_names(self, names: set[str]) -> None:
        """Note which of these names belong to sampled replicas."""
        for replica in self._sampled_replicas():
            try:
                self._answers_as.setdefault(replica.id, set()).update(names & set(replica.other_names()))
            except READ_FAILURES as error:
                logger.debug("%s: %s", replica.name, explained(error))

    def _unsampled_text(self, names: set[str], successors: set[str], why: str) -> str:
        verb = "was" if len(names) == 1 else "were"
        instead = ", ".join(replica.name for replica in self._sampled_replicas() if replica.id not in self._ended)
        instead = f" (sampled: {instead})" if instead else ""
        who = ", ".join(sorted(name or "somebody without a name (no X-Replica)" for name in names))
        since = ""
        if successors:
            since = f" after the process that was sampled as {', '.join(sorted(successors))} had ended"
        return f"{who} answered{since} and {verb} not sampled{instead}; {why}"

    def _sampled_replicas(self) -> list[Replica]:
        return [replica for replica in self._seen.values() if replica.id in self._sampled]

    def _find(self, event: str) -> bool:
        """Look for replicas and start to sample the new ones. ``event`` is what is recorded of a new one.

        Returns whether replicas were found.
        """
        target = self.finder.target or "--host"
        try:
            replicas = self.finder.replicas()
        except NoReplicas as error:
            self._problem(f"replicas of {target} can't be found: {error}")
            replicas = []
        except READ_FAILURES as error:
            self._problem(f"replicas of {target} can't be found: {explained(error)}")
            self._note_engine(answers=False, detail=explained(error))
            return False
        self._note_engine(answers=True, detail="")
        for replica in replicas:
            if replica.id not in self._seen:
                logger.info("replica %s (%s) on %s", replica.name, replica.id, replica.node)
                self._event(event, replica, replica.reason or "")
            elif replica.id in self._ended:
                if not self._is_anew(replica):
                    continue
                self._event(RESTARTED, replica, "")
            self._ended.discard(replica.id)
            self._seen[replica.id] = replica
            if replica.doubt:
                self._problem(replica.doubt)
            if replica.read is not None and replica.id not in self._samplers:
                self._has_tried[replica.id] = Event()
                self._samplers[replica.id] = self._greenlets.spawn(self._sample_on_schedule, replica)
        there = {replica.id for replica in replicas}
        for gone in [seen for id, seen in self._seen.items() if id not in there and id not in self._samplers]:
            self._end(gone)  # a replica that drains is no longer listed, but it is there until its sampler sees its end
        return bool(replicas)

    def _is_anew(self, replica: Replica) -> bool:
        try:
            return replica.is_anew()
        except READ_FAILURES as error:  # the next look asks again
            logger.debug("%s: %s", replica.name, explained(error))
            return False

    def _note_engine(self, *, answers: bool, detail: str) -> None:
        if answers != self._engine_answers:
            self._engine_answers = answers
            self._event(ENGINE_ANSWERS if answers else ENGINE_SILENT, None, detail)

    def _end(self, replica: Replica) -> None:
        """Note once that a replica has ended."""
        if replica.id in self._ended:
            return
        self._ended.add(replica.id)
        at_unix_s = time.time()
        try:
            detail = replica.why_ended()
        except READ_FAILURES as error:
            detail = f"the engine did not say why: {explained(error)}"
        self._event(ENDED, replica, detail, at_unix_s)
        self._ended_at_unix_s |= {replica.name: at_unix_s, replica.id: at_unix_s}
        self._successors -= {replica.name, replica.id}

    def _sample_on_schedule(self, replica: Replica) -> None:
        before: Counters | None = None
        pause = FIRST_PAUSE_S
        is_read = True
        while True:
            while replica.id in self._being_read:  # out of turn; a stream can't be read by two at once
                self._sleep_until_due()
            try:
                now = self._sample(self._seen[replica.id], before)
            except READ_FAILURES as error:
                self._problem(f"no samples of {replica.name} for a while: {explained(error)}")
                if is_read:
                    self._event(NOT_SAMPLED, replica, explained(error))
                is_read, before = False, None
                gevent.sleep(pause)
                pause = min(LONGEST_PAUSE_S, pause * 2)
            else:
                if now is None:
                    self._samplers.pop(replica.id)
                    self._end(replica)
                    return
                if not is_read:
                    self._event(SAMPLED_AGAIN, replica, "")
                is_read, before, pause = True, now, FIRST_PAUSE_S
            finally:
                self._has_tried[replica.id].set()
            self._sleep_until_due()

    def _sleep_until_due(self) -> None:
        since_s = time.monotonic() - self._began_at
        due_s = math.ceil(since_s / self.interval_s + 0.5) * self.interval_s  # a timer may come a little early
        gevent.sleep(due_s - since_s)

    def _sample_unless_read(self, replica: Replica) -> None:
        if replica.id not in self._being_read:
            self._sample_once(replica)

    def _sample_once(self, replica: Replica) -> Counters | None:
        """Take a sample out of turn; None if that fails."""
        try:
            return self._sample(replica, None)
        except READ_FAILURES as error:
            self._problem(f"a sample of {replica.name} is missing: {explained(error)}")
            return None

    def _sample(self, replica: Replica, before: Counters | None) -> Counters | None:
        """Read one sample and write it; None if the replica has ended."""
        if replica.read is None:
            return None
        self._being_read.add(replica.id)
        try:
            now = replica.read()
        finally:
            self._being_read.discard(replica.id)
        if now is not None:
            if before is not None and began_anew(before, now):
                self._event(RESTARTED, replica, "its counters began anew")
                before = None
            self._sampled.add(replica.id)
            self._write_sample(_row(replica, before, now))
        return now

    def _event(self, event: str, replica: Replica | None, detail: str, at_unix_s: float | None = None) -> None:
        """Write an event of a replica, or of the engine (None)."""
        self._write_event(
            {
                "at_unix_s": at_unix_s or time.time(),
                "event": event,
                "replica": replica.name if replica else None,
                "replica_id": replica.id if replica else None,
                "generation": replica.generation if replica else None,
                "node": replica.node if replica else None,
                "detail": detail,
            }
        )

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            logger.warning(text)
            self.problems.append(text)


def _row(replica: Replica, before: Counters | None, now: Counters) -> dict[str, Any]:
    """A sample as a row of ``REPLICA_STATS_COLUMNS``, without what only the run knows (phase, users)."""
    return {
        "sampled_at_unix_s": time.time(),
        "read_at_unix_s": now.read_at_unix_s,
        "replica": replica.name,
        "replica_id": replica.id,
        "node": replica.node,
        "generation": replica.generation,
        "state": replica.state,
        **now.by_column,
        **rates(before, now),
    }
