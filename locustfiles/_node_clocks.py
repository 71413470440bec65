"""How far the clock of another machine is ahead of this one's, from questions that it answers with its time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Offset:
    """How far a clock is ahead, and by how much that may be wrong."""

    ahead_s: float
    uncertainty_s: float

    def contradicts(self, other: Offset) -> bool:
        """Whether both can't be true of one clock: it was set meanwhile, or has drifted."""
        return abs(self.ahead_s - other.ahead_s) > self.uncertainty_s + other.uncertainty_s


def offset(sent_s: float, received_there_s: float, ready_there_s: float, answered_s: float) -> Offset:
    """The offset by one question: the first and the last time are of this clock, the others of the clock there.

    It is exact if question and answer took equally long. What is not known is how their time was shared out, so the
    error is half of it at most (RFC 5905 computes both alike).
    """
    ahead_s = ((received_there_s - sent_s) + (ready_there_s - answered_s)) / 2
    on_the_way_s = (answered_s - sent_s) - (ready_there_s - received_there_s)
    return Offset(ahead_s, max(on_the_way_s, 0.0) / 2)


def better(before: Offset | None, now: Offset) -> Offset:
    """Which of two measurements to use: the one with the least uncertainty, or the newer one if they contradict.

    So the offset stays the same as long as it can be true. Each change of it moves samples against each other.
    """
    if before is None or now.contradicts(before) or now.uncertainty_s < before.uncertainty_s:
        return now
    return before
