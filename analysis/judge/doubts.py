"""Why figures may not be trusted: the kinds of reasons, and one reason as a value.

A reason that makes a deployment *invalid* means that its figures must not be used: the page says so in red, no verdict
is given on it, and the command ends with its own exit code. A *caveat* is something to know; the figures can be used.
"""

from __future__ import annotations

from dataclasses import dataclass

from runfiles.events import INCOMPLETE, ROWS_LOST, UNSAMPLED

INVALID_EXIT_CODE = 3

KINDS = {
    "generator": "the load generator was short of CPU",
    "rate": "the load generator could not keep the rate",
    "overload": "over 1% of the requests were not answered",
    "disturbed": "other programs took the CPU",
    "cpu limit": "the CPU limit differed",
    "model": "the model differed",
    "model not told": "it is not known which model answered",
    "circumstances": "the circumstances differed",
    "image": "the images differed",
    "restart": "a replica restarted",
    "gap": "samples have gaps over 5 s",
    "errors": "over 1% of the requests failed",
    "few requests": "there were too few requests",
    "change": "a planned change was not made",
    "trend": "response times rose or fell within a run",
    "cut off": "a run was cut off",
    INCOMPLETE: "the measurement is incomplete",
    "clock": "a run's times contradict each other",
    "twice": "two runs overlap in time",
    ROWS_LOST: "rows do not match their record",
    "unreadable": "files can't be read",
    UNSAMPLED: "a replica was not sampled",
    "contradiction": "records contradict each other",
    "copy": "a measurement appears twice",
}
"""Kind of reason that makes figures invalid -> what the page calls it. Three are kinds of recorded faults too."""

LONGEST_QUOTE = 300
"""Characters of a text from outside that are quoted."""
Reasons = list[tuple[str, str]]
"""What speaks against one run: texts, each with its kind; an empty kind is a caveat."""


@dataclass(frozen=True)
class Doubt:
    """One reason not to trust figures, and the names of the ``deployments`` that it concerns (none: all).

    ``kind`` is one of ``KINDS`` if it makes figures invalid, and empty for a caveat. ``is_of_a_lack``: something that
    the plan asked for is missing or incomplete.
    """

    text: str
    kind: str = ""
    deployments: tuple[str, ...] = ()
    is_of_a_lack: bool = False

    @property
    def is_invalid(self) -> bool:
        return bool(self.kind)

    @property
    def title(self) -> str:
        return KINDS[self.kind] if self.kind else "caveat"


@dataclass(frozen=True)
class Validity:
    """All reasons that were found against an experiment."""

    doubts: tuple[Doubt, ...]

    @property
    def invalid(self) -> list[Doubt]:
        return [doubt for doubt in self.doubts if doubt.is_invalid]

    @property
    def caveats(self) -> list[Doubt]:
        return [doubt for doubt in self.doubts if not doubt.is_invalid]

    @property
    def is_valid(self) -> bool:
        return not self.invalid

    def of(self, name: str) -> list[Doubt]:
        """What makes the figures of one deployment invalid."""
        return [doubt for doubt in self.invalid if name in doubt.deployments]
