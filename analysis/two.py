"""Two experiments with two services, computed once: what their page, Markdown and the terminal are made from."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.analyse import Analysis
from analysis.judge.across import changed_circumstances, refuse_one_experiment, service_name
from analysis.judge.findings import Finding
from analysis.judge.two_findings import Beside, besides, two_caveats, two_findings, two_headline
from analysis.judge.two_verdicts import Pair, Side, judge_two
from analysis.read.records import UnreadableResults


@dataclass(frozen=True)
class TwoServices:
    """Two experiments and what they say together. ``headline`` is one plain sentence, and then its numbers."""

    analyses: tuple[Analysis, Analysis]
    sides: tuple[Side, Side]
    pairs: tuple[Pair, ...]
    besides: tuple[Beside, ...]
    headline: tuple[str, ...]
    findings: tuple[Finding, ...]
    caveats: tuple[str, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        """The keys of the quantities that are set beside each other, the main one first."""
        return tuple(self.pairs[0].quantities)

    @property
    def is_valid(self) -> bool:
        """Whether both experiments are valid and at least one deployment is compared."""
        return all(side.validity.is_valid for side in self.sides) and any(pair.why_not is None for pair in self.pairs)


def set_side_by_side(first: Analysis, second: Analysis) -> TwoServices:
    """Compare two experiments, deployment by deployment.

    Raises:
        UnreadableResults: they are one experiment, or no deployment was measured in both.
    """
    refuse_one_experiment(first.results, second.results)
    sides = _sides(first, second)
    pairs = judge_two(*sides)
    if not pairs:
        measured = ["; ".join(load.title for load in side.loads) or "nothing" for side in sides]
        folders = [str(side.results.folder) for side in sides]
        raise UnreadableResults(
            f"no deployment was measured in both: {folders[0]} has {measured[0]}, and {folders[1]} has {measured[1]}. "
            "Measure both services in the same deployments (--only)"
        )
    changed = changed_circumstances(first.results, second.results)
    return TwoServices(
        analyses=(first, second),
        sides=sides,
        pairs=pairs,
        besides=tuple(besides(pairs, sides)),
        headline=two_headline(pairs, sides),
        findings=tuple(two_findings(pairs, sides)),
        caveats=tuple(two_caveats(sides, changed)),
    )


def _sides(first: Analysis, second: Analysis) -> tuple[Side, Side]:
    """The two with names that tell them apart: those of the services or, if they are equal, with their folders."""
    services = [service_name(analysis.results) for analysis in (first, second)]
    if services[0] == services[1]:
        folders = [analysis.results.folder.resolve() for analysis in (first, second)]
        are_named = folders[0].name != folders[1].name
        services = [f"{services[0]} ({folder.name if are_named else folder})" for folder in folders]
    one, other = (
        Side(service, analysis.results, analysis.loads, analysis.validity, analysis.verdicts)
        for service, analysis in zip(services, (first, second), strict=True)
    )
    return one, other
