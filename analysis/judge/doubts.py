"""Why figures may not be trusted: the kinds of reasons, and one reason as a value.

Invalid: a figure must not be used. The page says so in red, verdicts on the deployment are withheld, and the command
ends with its own exit code. A caveat is something to know; the figures stand.
"""

from __future__ import annotations

from dataclasses import dataclass

INVALID_EXIT_CODE = 3

KINDS = {
    "generator": "the load generator was short of CPU",
    "cpu limit": "the CPU limit differed",
    "model": "the model differed",
    "model not told": "it is not known which model answered",
    "circumstances": "the runs were not alike",
    "image": "the images differed",
    "restart": "a replica restarted",
    "gap": "samples have gaps over 5 s",
    "errors": "over 1% of the requests failed",
    "few requests": "too few requests",
    "trend": "a trend within the run",
    "cut off": "a run was cut off",
    "incomplete": "a run is incomplete",
    "clock": "a run's times contradict each other",
    "twice": "two runs of the same time",
    "rows lost": "rows are lost",
    "unreadable": "files can't be read",
    "unsampled": "a replica is in no figure",
    "contradiction": "records contradict each other",
    "copy": "one measurement is there twice",
}
"""What makes a run invalid -> how it is called on the page."""

LONGEST_QUOTE = 300
"""Characters of a text from outside that are quoted."""
Said = list[tuple[str, str]]
"""What is said of a run, and what kind of invalid it makes it; empty for something to mind."""


@dataclass(frozen=True)
class Doubt:
    """One reason to mistrust figures: of which ``kind``, and of which ``deployments`` (their names; none: of all).

    ``kind`` is one of ``KINDS`` where figures are invalid, and empty where there is something to mind only.
    ``is_of_a_lack``: something that was asked for is not there, or not whole.
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
        return KINDS[self.kind] if self.kind else "mind"


@dataclass(frozen=True)
class Validity:
    """All that was found against an experiment."""

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
