"""All that is computed of an experiment, once: what the page, Markdown, JUnit and compare are made from."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.judge.capacities import capacity_finding, capacity_verdicts
from analysis.judge.changes import change_findings
from analysis.judge.doubts import Validity
from analysis.judge.findings import Finding, findings
from analysis.judge.headline import headline
from analysis.judge.nodes import node_findings
from analysis.judge.staircases import staircase_finding
from analysis.judge.validity import examine
from analysis.judge.verdicts import Verdict, judge
from analysis.measure.balance import Balance, evenness, keeps_connections, replica_shares
from analysis.measure.effects import Effect, effects_of
from analysis.measure.nodes import Nodes, nodes_of
from analysis.measure.parts import Blank, measure_blank
from analysis.measure.rounds import Measurement, measure_load, measure_pass
from analysis.measure.searches import Search, search_of, with_capacity
from analysis.measure.steps import Staircase, staircase
from analysis.read.results import Results


@dataclass(frozen=True)
class Analysis:
    """An experiment and what it says. ``headline`` is what was found: one plain sentence, and
    then its numbers. ``staircases``: one for each of the loads if the plan has several rates; then there are no
    verdicts. ``searches``: one for each of the loads if the capacity was searched; then the verdicts are on that.
    ``effects``: one for each change of each of the loads if the plan has changes; then there are no verdicts.
    ``nodes``: of each of the loads whose replicas ran on several nodes of a swarm."""

    results: Results
    blank: Blank
    headline: tuple[str, ...]
    loads: tuple[Measurement, ...]
    staircases: tuple[Staircase, ...]
    searches: tuple[Search, ...]
    effects: tuple[Effect, ...]
    passes: tuple[Measurement, ...]
    validity: Validity
    verdicts: tuple[Verdict, ...]
    balances: tuple[Balance, ...]
    nodes: tuple[Nodes, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Measured:
    """What is known of an experiment before its deployments are compared with each other."""

    results: Results
    loads: tuple[Measurement, ...]
    validity: Validity


def measure(results: Results) -> Measured:
    """The loads of an experiment at one rate or with users, and what speaks against them."""
    loads = _loads(results, measure_blank(results))
    return Measured(results, loads, examine(results, loads))


def _loads(results: Results, blank: Blank) -> tuple[Measurement, ...]:
    return tuple(
        measure_load(deployment, blank, has_several_rates=results.has_several_rates, has_changes=results.has_changes)
        for deployment in results.deployments
        if deployment.loads
    )


def analyse(results: Results) -> Analysis:
    """Compute everything. Deployments without a run that can be read are in none of the estimates."""
    blank = measure_blank(results)
    loads = _loads(results, blank)
    planned = results.experiment.plan.capacity
    searches = () if planned is None else tuple(search_of(load.deployment, planned.slo) for load in loads)
    if searches:
        loads = tuple(with_capacity(load, search) for load, search in zip(loads, searches, strict=True))
    each = (staircase(load, results.experiment.plan.rates) for load in loads)
    staircases = tuple(own for own in each if own is not None)
    effects = effects_of(loads, results.experiment.plan.changes)
    validity = examine(results, loads, searches)
    verdicts = [] if results.is_mixed else judge(loads, validity, results.host_apart)
    if searches:
        verdicts = capacity_verdicts(loads, searches, validity, results.host_apart)
    balances = () if results.has_changes else tuple(_balances(loads))
    nodes = () if results.is_mixed else _nodes(results, loads)
    found = [*staircase_finding(staircases, validity), *capacity_finding(searches, verdicts, validity)]
    found += change_findings(effects, validity)
    found += [] if results.has_changes else findings(loads, verdicts, balances, validity, results.host_apart)
    found += node_findings(nodes, validity)
    return Analysis(
        results=results,
        blank=blank,
        headline=headline(
            loads, verdicts, balances, validity, results.experiment.command, staircases, searches, effects
        ),
        loads=loads,
        staircases=staircases,
        searches=searches,
        effects=effects,
        passes=tuple(measure_pass(deployment, blank) for deployment in results.deployments if deployment.single_passes),
        validity=validity,
        verdicts=tuple(verdicts),
        balances=balances,
        nodes=nodes,
        findings=tuple(found),
    )


def _balances(loads: tuple[Measurement, ...]) -> list[Balance]:
    """Each round of each deployment that may have several replicas."""
    return [
        Balance(
            measurement=load,
            number=number,
            shares=replica_shares(run),
            even=evenness(run, load.deployment.is_proxied),
            keeps_connections=keeps_connections(run),
            deals_requests=load.deployment.is_proxied,
            replaced_after=run.replaced_after,
        )
        for load in loads
        if load.deployment.is_swarm or load.deployment.is_proxied
        for number, run in load.deployment.loads.items()
    ]


def _nodes(results: Results, loads: tuple[Measurement, ...]) -> tuple[Nodes, ...]:
    """Of each deployment whose replicas ran on several nodes."""
    each = (nodes_of(load, results.experiment.cluster) for load in loads if load.deployment.is_swarm)
    return tuple(own for own in each if own is not None)
