"""All that is computed of an experiment, once: what the page, Markdown, JUnit and compare are made from."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.judge.findings import Balance, Finding, findings
from analysis.judge.validity import Validity, examine
from analysis.judge.verdicts import Verdict, judge
from analysis.measure.balance import evenness, replica_shares
from analysis.measure.rounds import Measurement, measure_load, measure_pass
from analysis.read.results import Results


@dataclass(frozen=True)
class Analysis:
    """An experiment and what it says."""

    results: Results
    loads: tuple[Measurement, ...]
    passes: tuple[Measurement, ...]
    validity: Validity
    verdicts: tuple[Verdict, ...]
    balances: tuple[Balance, ...]
    findings: tuple[Finding, ...]
    headline: str = ""


def analyse(results: Results) -> Analysis:
    """Compute everything. Deployments without a run that can be read are in none of the figures."""
    loads = tuple(measure_load(one) for one in results.deployments if one.loads)
    validity = examine(results, loads)
    verdicts = judge(loads, validity, results.engine_elsewhere)
    balances = tuple(_balances(loads))
    return Analysis(
        results=results,
        loads=loads,
        passes=tuple(measure_pass(one) for one in results.deployments if one.single_passes),
        validity=validity,
        verdicts=tuple(verdicts),
        balances=balances,
        findings=tuple(findings(loads, verdicts, balances, validity, results.engine_elsewhere)),
    )


def _balances(loads: tuple[Measurement, ...]) -> list[Balance]:
    """Each round of each Swarm deployment."""
    return [
        Balance(one, number, replica_shares(run), evenness(run), run.measured["connection_reused"].mean() > 0.5)
        for one in loads
        if one.deployment.is_swarm
        for number, run in one.deployment.loads.items()
    ]
