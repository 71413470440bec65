"""All that speaks against an experiment, gathered from the checks: of each run, of the plan, and of the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from analysis.judge.check_blocks import block_doubts, trend_doubts
from analysis.judge.check_changes import change_doubts, changed_load_doubts, changed_rate_doubts
from analysis.judge.check_comparison import comparison_doubts, round_doubts
from analysis.judge.check_generator import generator_caveats
from analysis.judge.check_load import generator_doubts, load_doubts
from analysis.judge.check_open import open_doubts, search_doubts
from analysis.judge.check_plan import START_SLACK_S, plan_doubts, time_doubts
from analysis.judge.check_replicas import PART_ONLY, limit_doubts, replica_doubts
from analysis.judge.check_requests import ERRORS, error_doubts, first_error, request_doubts, single_pass_doubts
from analysis.judge.doubts import LONGEST_QUOTE, Doubt, Reasons, Validity
from analysis.measure.latency import ABOVE_PERCENTILE
from analysis.measure.quantity import QUANTITIES
from analysis.measure.rounds import Measurement
from analysis.measure.searches import Search
from analysis.read.results import Deployment, Results, Round
from analysis.read.runs import Run
from runfiles.deployments import title_of
from runfiles.events import CUT_OFF, FAILED, INCOMPLETE, INTERRUPTED, STATUS_MEASURED
from runfiles.files import SERVICE_LOG_FILE, round_folder
from runfiles.lines import is_alike


def examine(results: Results, loads: Iterable[Measurement], searches: Sequence[Search] = ()) -> Validity:
    """All that speaks against an experiment, what makes it invalid first."""
    found = _of_failed_requests(results)
    found += [doubt for each in results.deployments for doubt in _of_deployment(each, results)]
    found += search_doubts(searches)
    found += _of_failed_rounds(results) + plan_doubts(results) + time_doubts(results) + trend_doubts(results)
    found += change_doubts(results)
    loads = list(loads)
    found += _of_percentiles([] if results.is_mixed else loads) + generator_caveats(results, loads)
    found += comparison_doubts(results) + round_doubts(results)
    return Validity(tuple(sorted(_merged(found), key=lambda doubt: not doubt.is_invalid)))


def _merged(found: list[Doubt]) -> list[Doubt]:
    """Each text once, for all the deployments that it concerns."""
    texts: dict[tuple[str, str], Doubt] = {}
    for doubt in found:
        known = texts.get((doubt.text, doubt.kind), Doubt(doubt.text, doubt.kind)).deployments
        names = (*known, *(name for name in doubt.deployments if name not in known))
        texts[doubt.text, doubt.kind] = replace(doubt, deployments=names)
    return list(texts.values())


def _of_deployment(deployment: Deployment, results: Results) -> list[Doubt]:
    found = _of_status(deployment)
    for round_ in deployment.rounds:
        found += [Doubt(f"{deployment.title}: {text}", "unreadable", (deployment.name,)) for text in round_.unread]
        if round_.status != STATUS_MEASURED:
            continue
        if not round_.unread:
            found += _of_missing_runs(deployment, round_) + _of_start(deployment, round_)
    return found + _of_lacking_passes(deployment) + _of_rates(deployment, results) + _of_runs(deployment, results)


def _of_failed_rounds(results: Results) -> list[Doubt]:
    """Why rounds failed: each cause once, with all deployments and rounds that it hit."""
    hit: list[tuple[str, dict[str, list[int]]]] = []
    for deployment in results.deployments:
        for round_ in deployment.rounds:
            if round_.status != FAILED:
                continue
            reason = round_.reason or "no reason was given"
            whom = next((whom for told, whom in hit if is_alike(told, reason)), None)
            if whom is None:
                hit.append((reason, whom := {}))
            whom.setdefault(deployment.title, []).append(round_.number)
    return [
        Doubt(f"{_whom(whom)} {INTERRUPTED if reason == CUT_OFF else FAILED}: {reason}", is_of_a_lack=True)
        for reason, whom in hit
    ]


def _of_failed_requests(results: Results) -> list[Doubt]:
    """Runs with too many failed requests: each cause once, by the first run that it hit, with all that it hit.

    In a staircase, failed requests of a load belong to the step in which they failed, and after a change to that.
    """
    runs = [
        (deployment, round_, name, run.as_recorded.before_changes)
        for deployment in results.deployments
        for round_ in deployment.rounds
        for name, run in _named_runs(round_)
        if run is round_.single_pass or not results.has_several_rates
    ]
    hit: list[tuple[str, str, dict[str, list[int]]]] = []
    for deployment, round_, name, run in runs:
        for text, _ in error_doubts(run):
            whom = next((whom for error, _, whom in hit if is_alike(error, first_error(run))), None)
            if whom is None:
                where = f"{deployment.title}, {name}{_rounds(deployment, [round_.number])}"
                said = f"{where}: {text}{_where_log_is(results.folder, deployment, round_)}"
                hit.append((first_error(run), said, whom := {}))
            whom[deployment.name] = sorted({*whom.get(deployment.name, []), round_.number})
    found = []
    for _, said, whom in hit:
        told = _whom({title_of(name): numbers for name, numbers in whom.items()})
        is_of_one = sum(map(len, whom.values())) == 1
        text = said if is_of_one else f"{said}. All that it hit: {told}"
        found.append(Doubt(text, ERRORS, tuple(whom)))
    return found


def _where_log_is(folder: Path, deployment: Deployment, round_: Round) -> str:
    """Where the service's log of a round is, if it was kept."""
    log = f"{round_folder(deployment.name, round_.number)}/{SERVICE_LOG_FILE}"
    return f". The end of the service's log is in {log}" if (folder / log).is_file() else ""


def _named_runs(round_: Round) -> Iterator[tuple[str, Run]]:
    """The runs of a measured round, and what each is called."""
    if round_.status != STATUS_MEASURED:
        return
    if round_.single_pass is not None:
        yield "single pass", round_.single_pass
    if round_.load is not None:
        yield "load", round_.load
    for group, run in round_.reference_loads.items():
        yield f"load in group {group}", run


def _whom(rounds: Mapping[str, Sequence[int]]) -> str:
    """Deployments by title, each with the numbers of some of its rounds."""
    return "; ".join(
        f"{title}, round{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        for title, numbers in rounds.items()
    )


def _of_runs(deployment: Deployment, results: Results) -> list[Doubt]:
    """The reasons that the runs give: each once, with all rounds in which it was found."""
    rounds: dict[tuple[str, Doubt], list[int]] = {}
    for round_ in deployment.rounds:
        for name, run in _named_runs(round_):
            is_pass = run is round_.single_pass
            for doubt in _doubts(deployment, run, _of_pass(run) if is_pass else _of_load(run, results)):
                rounds.setdefault((name, doubt), []).append(round_.number)
    return [
        replace(doubt, text=f"{deployment.title}, {name}{_rounds(deployment, numbers)}: {doubt.text}")
        for (name, doubt), numbers in rounds.items()
    ]


def _of_rates(deployment: Deployment, results: Results) -> list[Doubt]:
    """Whether the loads at a rate were kept and answered, each kind of reason once. Of a search for the capacity the
    steps in which the load generator did not keep the rate do not count, so they are no reason."""
    if results.is_search:
        return []
    runs: dict[str, dict[int, Run]] = {}
    for round_ in deployment.rounds:
        for name, run in _named_runs(round_):
            if run is not round_.single_pass:
                runs.setdefault(name, {})[round_.number] = run
    found = []
    for name, own in runs.items():
        if results.has_changes:
            reasons = changed_rate_doubts(own)
        else:
            reasons = open_doubts(own, has_several_rates=results.has_several_rates)
        for numbers, text, kind in reasons:
            where = f"{deployment.title}, {name}{_rounds(deployment, numbers)}"
            found.append(Doubt(f"{where}: {text}", kind, (deployment.name,) if kind else ()))
    return found


def _rounds(deployment: Deployment, numbers: list[int]) -> str:
    """`` of round 1``, `` of rounds 1, 2``; nothing where there is only one."""
    if len(deployment.rounds) < 2:
        return ""
    return f" of round{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _of_status(deployment: Deployment) -> list[Doubt]:
    """Whether a deployment's status is that of its rounds."""
    own = (deployment.name,)
    measured = [round_.number for round_ in deployment.rounds if round_.status == STATUS_MEASURED]
    if deployment.status != STATUS_MEASURED and measured:
        text = f"the record calls {deployment.title} {deployment.status}, but its round {measured[0]} measured"
        return [Doubt(text, "contradiction", own)]
    if deployment.status == STATUS_MEASURED and not measured:
        return [Doubt(f"the record calls {deployment.title} measured, but none of its rounds", INCOMPLETE, own)]
    return []


def _doubts(deployment: Deployment, run: Run, said: Reasons) -> list[Doubt]:
    """The reasons that one run gives."""
    faults = {fault.text[:LONGEST_QUOTE] for fault in run.record.faults}
    return [
        Doubt(
            text,
            kind,
            (deployment.name,) if kind else (),
            is_of_a_lack=text in faults or PART_ONLY in text,
        )
        for text, kind in said
    ]


def _of_pass(run: Run) -> Reasons:
    return _of_run(run) + single_pass_doubts(run.as_recorded)


def _of_load(run: Run, results: Results) -> Reasons:
    if results.has_changes:
        return changed_load_doubts(run)
    found = _of_run(run, is_search=results.is_search)
    return found + load_doubts(run, is_mixed=results.has_several_rates)


def _of_run(run: Run, *, is_search: bool = False) -> Reasons:
    """What can be said of a load and of a single pass."""
    recorded = run.as_recorded
    found = generator_doubts(run) + request_doubts(recorded) + limit_doubts(recorded) + replica_doubts(recorded)
    return found + block_doubts(run, is_search=is_search)


def _of_start(deployment: Deployment, round_: Round) -> list[Doubt]:
    """Whether a round's service was healthy before the round's first run began."""
    runs = [run.record.started_at_unix_s for run in round_.runs]
    if round_.started_at is None or round_.seconds_to_healthy is None or not runs:
        return []
    healthy_s = datetime.fromisoformat(round_.started_at).timestamp() + round_.seconds_to_healthy
    if healthy_s <= min(runs) + START_SLACK_S:
        return []
    where = f"{deployment.title}, round {round_.number}"
    text = f"{where}: the record says that the service was healthy only after {round_.seconds_to_healthy:,.0f} s, "
    return [Doubt(f"{text}but its first run began earlier", "contradiction", (deployment.name,))]


def _of_missing_runs(deployment: Deployment, round_: Round) -> list[Doubt]:
    """Whether a measured round lacks its load, without which it has no figures."""
    where = f"{deployment.title}, round {round_.number}"
    if round_.load is None:
        what = "its load is missing" if round_.single_pass else "none of its runs can be read"
        return [Doubt(f"{where}: the record calls it measured, but {what}", "unreadable", (deployment.name,))]
    return []


def _of_lacking_passes(deployment: Deployment) -> list[Doubt]:
    lacking = [
        str(round_.number)
        for round_ in deployment.rounds
        if round_.status == STATUS_MEASURED and not round_.unread and round_.load and not round_.single_pass
    ]
    if not lacking:
        return []
    rounds = f"round{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}"
    return [Doubt(f"{deployment.title}, {rounds}: the single pass is missing", is_of_a_lack=True)]


def _of_percentiles(loads: list[Measurement]) -> list[Doubt]:
    """Percentiles that are not shown; those of the same deployments share a text. Without a median a run is invalid."""
    found = []
    thin: dict[str, list[str]] = {}
    for key, quantity in QUANTITIES.items():
        if quantity.quantile is None:
            continue
        few = [load for load in loads if not load.summary[key].is_measured and load.summary[key].n]
        for load in few if key == "median_ms" else ():
            text = f"{load.title}: too few requests even for a median: {load.summary[key].missing}"
            found.append(Doubt(text, "few requests", (load.name,)))
        if few and key != "median_ms":
            who = "; ".join(f"{load.title} ({load.summary[key].n:,} requests)" for load in few)
            thin.setdefault(who, []).append(f"p{quantity.quantile * 100:.0f}")
    for who, names in thin.items():
        verb = "is" if len(names) == 1 else "are"
        text = f"{' and '.join(names)} under load {verb} not shown for {who}: "
        found.append(Doubt(f"{text}fewer than {ABOVE_PERCENTILE} requests were slower."))
    return found
