"""When not to trust the figures: what makes a run invalid, and what is a reason for doubt only.

Invalid: a figure must not be used. The page says so in red, verdicts on the deployment are withheld, and the command
ends with its own exit code. A doubt is something to mind; the figures stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd

from analysis.judge.comparability import MODEL, Unlike, memory_limits_bytes, usable_cpus, why_unlike
from analysis.measure.quantity import QUANTITIES
from analysis.measure.rounds import ABOVE_PERCENTILE, Measurement, why_no_samples
from analysis.measure.series import coverage, throughput_per_second
from analysis.read.results import Deployment, Results, Round, Run
from runfiles.events import (
    ALL_TEXTS,
    ENDED,
    ENOUGH_REQUESTS,
    FAILED,
    INCOMPLETE,
    MEASURED,
    NOT_RUN,
    NOT_SAMPLED,
    RESTARTED,
    ROWS_LOST,
    RUN_TIME,
    STATUS_MEASURED,
    UNSAMPLED,
    WARM_UP,
)
from runfiles.machines import DockerEngine, can_be_told_apart
from runfiles.records import PlanRecord

INVALID_EXIT_CODE = 3

GENERATOR_LIMIT_PERCENT = 90
ERROR_LIMIT = 0.01
GAP_LIMIT_S = 5.0
GAP_DOUBT_SHARE = 0.05
"""Of the measured phase: in a short run less is missing before it shows in a mean. At least a second in any run."""
OTHERS_LIMIT_PERCENT = 30
"""CPU that neither load generator nor service used; Docker's proxy and the kernel's network work are part of it."""
UNSTEADY = 0.25
"""Standard deviation of the answers in each second over their mean, above which a run was not one steady state."""
TREND_PARTS = 10
TREND_LIMIT = 0.1
TREND_ALPHA = 0.001
"""A run has a trend where the medians of its tenths rise or fall by more than 10% from first to last (Theil and Sen's
slope), and so steadily (Kendall's tau) that noise does it once in 1,000 runs."""
FEW_ROUNDS = 5
LOSSES = {ENDED: "restart", RESTARTED: "restart", NOT_SAMPLED: "unsampled"}
"""What became of a replica, where that makes a run invalid -> which kind of invalid."""

KINDS = {
    "generator": "the load generator was short of CPU",
    "cpu limit": "the CPU limit differed",
    "model": "the model differed",
    "model not told": "it is not known which model answered",
    "conditions": "the runs were not alike",
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

SERIOUS_FAULTS = (ROWS_LOST, INCOMPLETE, UNSAMPLED)
"""Of ``runfiles.FAULTS`` those that make a run invalid, and the kinds of invalid that they make it."""
WHOLE_ENDS = (RUN_TIME, ENOUGH_REQUESTS, ALL_TEXTS)
"""A run that anything else ended is not what was asked for."""
CLOCK_SLACK_S = 1.0
"""By so much may a request seem to be sent before its run began or after it ended."""
PHASE_SLACK_S = 0.1
"""By so much may the phase of a row contradict its time."""
LEAST_WARM_UP_S = 1.0
"""In a shorter warm-up there may be no request: users take a moment to start."""
RUN_TIME_SLACK_S = 2.0
"""By so much may a run be shorter than its run time."""
COLUMNS_TOLD = {
    "cpu_seconds": "CPU time",
    "memory_bytes": "memory",
    "net_rx_bytes": "network traffic in",
    "net_tx_bytes": "network traffic out",
}
"""Columns of samples -> what they tell. An engine that tells none of one at all has it not."""
BEYOND = 0.1
"""By so large a part may a sample be beyond what there is of memory or CPU: they are read at moments of their own."""
CPU_SLACK_S = 0.2
PART_SLACK_MS = 1.0
"""By so much may the time in the service be beyond the response time: they are by two clocks."""
START_SLACK_S = 60.0
LONGEST_WAIT_S = 24 * 3600
"""So long after its start an experiment has begun its first run."""
PART_ONLY = "for part of the run only"
MIB = 2**20
LONGEST_QUOTE = 300
"""Characters of a text from outside that are quoted."""


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
        return [one for one in self.doubts if one.is_invalid]

    @property
    def caveats(self) -> list[Doubt]:
        return [one for one in self.doubts if not one.is_invalid]

    @property
    def is_valid(self) -> bool:
        return not self.invalid

    def of(self, name: str) -> list[Doubt]:
        """What makes the figures of one deployment invalid."""
        return [one for one in self.invalid if name in one.deployments]


def examine(results: Results, loads: Iterable[Measurement]) -> Validity:
    """All that speaks against an experiment, what makes it invalid first."""
    found = [one for deployment in results.deployments for one in _of_deployment(deployment)]
    found += _of_plan(results) + _of_times(results)
    found += _of_percentiles(list(loads)) + _of_comparison(results) + _of_rounds(results)
    merged = _merged(found)
    return Validity(tuple(sorted(merged, key=lambda one: not one.is_invalid)))


def _merged(found: list[Doubt]) -> list[Doubt]:
    """Each text once, for all the deployments that it was said of."""
    texts: dict[tuple[str, str], Doubt] = {}
    for one in found:
        known = texts.get((one.text, one.kind), Doubt(one.text, one.kind)).deployments
        names = (*known, *(name for name in one.deployments if name not in known))
        texts[one.text, one.kind] = replace(one, deployments=names)
    return list(texts.values())


def _of_deployment(deployment: Deployment) -> list[Doubt]:
    own = (deployment.name,)
    found = []
    measured = [one.number for one in deployment.rounds if one.status == STATUS_MEASURED]
    if deployment.status != STATUS_MEASURED and measured:
        text = f"{deployment.title} is said to be {deployment.status}, but round {measured[0]} to be measured"
        found.append(Doubt(text, "contradiction", own))
    if deployment.status == STATUS_MEASURED and not measured:
        found.append(Doubt(f"{deployment.title} is said to be measured, but none of its rounds is", "incomplete", own))
    for one in deployment.rounds:
        found += [Doubt(f"{deployment.title}: {text}", "unreadable", own) for text in one.unread]
        if one.status == FAILED:
            text = f"{deployment.title}, round {one.number} failed: {one.reason or 'no reason was given'}"
            found.append(Doubt(text, is_of_a_lack=True))
        if one.status != STATUS_MEASURED:
            continue
        if not one.unread:
            found += _of_missing_runs(deployment, one) + _of_start(deployment, one)
        for run, what in ((one.single_pass, "single pass"), (one.load, "load")):
            if run is None:
                continue
            where = f"{deployment.title}, {what}" + (f" of round {one.number}" if len(deployment.rounds) > 1 else "")
            said = _of_run(run) + (_of_load(run) if run is one.load else _of_single_pass(run))
            faults = {fault.text[:LONGEST_QUOTE] for fault in run.record.faults}
            lacks = {text for text, _ in said if text in faults or PART_ONLY in text}
            found += [Doubt(f"{where}: {text}", kind, own if kind else (), text in lacks) for text, kind in said]
    return found


def _of_start(deployment: Deployment, one: Round) -> list[Doubt]:
    """Whether a round's service was healthy before the round's first run began."""
    runs = [run.record.started_at_unix_s for run in (one.single_pass, one.load) if run is not None]
    if one.started_at is None or one.seconds_to_healthy is None or not runs:
        return []
    healthy_s = datetime.fromisoformat(one.started_at).timestamp() + one.seconds_to_healthy
    if healthy_s <= min(runs) + START_SLACK_S:
        return []
    where = f"{deployment.title}, round {one.number}"
    text = f"{where}: the service is said to be healthy only after {one.seconds_to_healthy:,.0f} s, "
    return [Doubt(f"{text}when its first run had begun", "contradiction", (deployment.name,))]


def _of_missing_runs(deployment: Deployment, one: Round) -> list[Doubt]:
    """What a round lacks that is said to be measured: a load, without which it has no figures, or its single pass."""
    where = f"{deployment.title}, round {one.number}"
    if one.load is None:
        what = "its load is not there" if one.single_pass else "no run of it can be read"
        return [Doubt(f"{where}: it is said to be measured, but {what}", "unreadable", (deployment.name,))]
    return [] if one.single_pass else [Doubt(f"{where}: there is no single pass", is_of_a_lack=True)]


Said = list[tuple[str, str]]
"""What is said of a run, and what kind of invalid it makes it; empty for something to mind."""


def _of_run(run: Run) -> Said:
    found: Said = []
    percent = run.record.generator.cpu_percent
    if run.record.generator.cpu_warnings or (percent or 0) > GENERATOR_LIMIT_PERCENT:
        spent = f"{percent:.0f}% of a core" if percent is not None else "most of a core"
        found.append(
            (f"the load generator itself was short of CPU ({spent}); latency and throughput are its own", "generator")
        )
    measured = run.measured
    failed = measured["error"][(measured["error"] != "").to_numpy()]
    if len(measured) and len(failed) / len(measured) > ERROR_LIMIT:
        first = failed.iloc[0][:LONGEST_QUOTE]
        found.append((f"{len(failed):,} of {len(measured):,} requests failed (the first: {first})", "errors"))
    if run.record.ended_by not in WHOLE_ENDS:
        found.append(("the run was cut off before its end", "cut off"))
    for fault in run.record.faults:
        kind = fault.kind if fault.kind in SERIOUS_FAULTS else ""
        found.append((fault.text[:LONGEST_QUOTE], kind))
    if run.record.ended_at_unix_s is not None and run.rows_lost:
        text = f"{run.record.requests:,} requests were recorded, but {len(run.requests):,} rows can be read; "
        found.append((f"{text}the figures are of these, up to the last", "rows lost"))
    said = run.record.requests
    if said is not None and len(run.requests) > said:
        text = f"{said:,} requests were recorded, but there are {len(run.requests):,} rows: some are of another run"
        found.append((text, "rows lost"))
    for name in run.absent:
        found.append((f"{name} is missing, though replicas were sampled; put it back or measure again", "unreadable"))
    told = run.record.failures
    if run.record.ended_at_unix_s is not None and told is not None and not run.rows_lost:
        failed_rows = len(run.requests) - len(run.answered_unix_s)
        if failed_rows != told:
            text = f"{told:,} failed requests were recorded, but {failed_rows:,} rows tell of one"
            found.append((text, "contradiction"))
    if twice := _rows_there_twice(run.requests):
        found.append((f"{twice:,} requests stand there twice, equal in all columns", "copy"))
    found += _of_texts(run)
    found += _of_impossible(run)
    found += _of_clock(run)
    found += _of_samples(run)
    texts = [*run.record.replicas.problems, why_no_samples(run)]
    return found + [(text, "") for text in dict.fromkeys(texts) if text]


def _rows_there_twice(requests: pd.DataFrame) -> int:
    """How many rows equal another in all columns. Only those sent at one moment are looked at: seldom any."""
    at_once = requests["started_at_unix_s"].duplicated(keep=False)
    return int(requests[at_once].duplicated().sum())


def _of_texts(run: Run) -> Said:
    """Whether each request sent one of the texts."""
    count, told = run.record.texts.count, run.requests["text_id"].dropna()
    unknown = told[(told < 1) | (told > count) | (told % 1 != 0)] if count is not None else told[:0]
    if unknown.empty:
        return []
    return [
        (f"{len(unknown):,} requests sent a text that is none of the {count:,}: {unknown.iloc[0]:g}", "contradiction")
    ]


def _of_impossible(run: Run) -> Said:
    """Values that contradict each other: a part that is longer than the whole, more than there is."""
    found: Said = []
    answered = run.answered
    inside_ms = answered["queue_ms"].fillna(0) + answered["inference_ms"].fillna(0)
    longer = int((inside_ms > answered["response_time_ms"] + PART_SLACK_MS).sum())
    if longer:
        text = f"of {longer:,} answers the time in the service is longer than the response time"
        found.append((text, "contradiction" if longer > ERROR_LIMIT * len(answered) else ""))
    limited = run.samples["memory_limit_bytes"]
    if (run.samples["memory_bytes"] > limited * (1 + BEYOND)).any():
        found.append(("a replica is said to hold more memory than its limit", "contradiction"))
    cores = run.record.machine.cpu_count
    for name, own in run.samples.groupby("replica", observed=True) if run.is_local and cores else ():
        used = own["cpu_seconds"].iloc[-1] - own["cpu_seconds"].iloc[0]
        elapsed = own["read_at_unix_s"].iloc[-1] - own["read_at_unix_s"].iloc[0]
        if used > cores * elapsed * (1 + BEYOND) + CPU_SLACK_S:
            text = f"{name} is said to have used {used:,.1f} s of CPU in {elapsed:,.1f} s with {cores:g} CPUs"
            found.append((text, "contradiction"))
    return found


def _of_clock(run: Run) -> Said:
    """Whether the times of the requests are of the clock by which the run was cut into phases."""
    sent = run.requests["started_at_unix_s"]
    if sent.empty:
        return []
    began, ended = run.record.started_at_unix_s, run.record.ended_at_unix_s
    found: Said = []
    early, late = began - sent.iloc[0], sent.iloc[-1] - (ended or sent.iloc[-1])
    if max(early, late) > CLOCK_SLACK_S:
        when = f"{early:.1f} s before the run began" if early > late else f"{late:.1f} s after the run ended"
        found.append((f"phases by another clock: a request was sent {when}", "clock"))
    start, _ = run.window_unix_s
    warm_up = sent[(run.requests["phase"] == WARM_UP).to_numpy()]
    measured = run.measured["started_at_unix_s"]
    if (measured < start - PHASE_SLACK_S).any() or (warm_up > start + PHASE_SLACK_S).any():
        wrong = (
            ((measured < start).sum(), "of the warm-up are", MEASURED),
            (
                (warm_up >= start).sum(),
                "sent after the warm-up are",
                WARM_UP,
            ),
        )
        text = "; ".join(f"{count:,} requests {which} marked {phase}" for count, which, phase in wrong if count)
        found.append((f"phases by another clock: {text}", "clock"))
    elif warm_up.empty and run.record.warm_up_s >= LEAST_WARM_UP_S and not found:
        text = f"no request was sent in the warm-up of {run.record.warm_up_s:g} s: what was measured was not warm"
        found.append((text, "clock"))
    return found


def _of_load(run: Run) -> Said:
    """What only a load can be told by: it has to be one steady state."""
    found: Said = []
    if run.measured.empty:
        found.append(("no request was measured", "incomplete"))
    ended, asked_s = run.record.ended_at_unix_s, run.record.run_time_s
    if run.record.ended_by == RUN_TIME and asked_s is not None and ended is not None:
        took_s = ended - run.record.started_at_unix_s
        if took_s < asked_s - RUN_TIME_SLACK_S:
            found.append((f"the run took {took_s:.0f} s, not {asked_s:g} s", "cut off"))
    seconds = throughput_per_second(run)
    if len(seconds) > 1 and seconds.std() > UNSTEADY * seconds.mean():
        text = f"throughput was not steady: {seconds.min():,} to {seconds.max():,} answers a second; "
        found.append((f"{text}a mean says little of such a run", ""))
    change = trend(run)
    if change is not None:
        way = "rose" if change > 0 else "fell"
        text = f"response times {way} by {abs(change):.0%} from the first to the last tenth of the run: "
        found.append((f"{text}it was not warmed up, or the machine was throttled", "trend"))
    others = _cpu_of_others(run)
    if others is not None and others > OTHERS_LIMIT_PERCENT:
        found.append((f"other programs and the system took {others:.0f}% of a core meanwhile", ""))
    return found


def _of_single_pass(run: Run) -> Said:
    """Whether each text was sent once."""
    count = run.record.texts.count
    rows, told = len(run.requests), run.requests["text_id"].dropna()
    if run.rows_lost:
        return []
    if count is None:
        return [("how many texts there are was not recorded: it is not known whether all were sent", "incomplete")]
    if len(told) < rows:
        return [(f"{rows - len(told):,} requests of the single pass do not say which text they sent", "incomplete")]
    texts = told.nunique()
    found: Said = []
    if texts < count:
        found.append((f"the single pass sent {texts:,} of {count:,} texts", "incomplete"))
    if rows > texts:
        found.append((f"the single pass sent {rows - texts:,} texts again", "incomplete"))
    if texts > count:
        found.append((f"the single pass sent {texts:,} texts where there are {count:,}", "incomplete"))
    return found


def trend(run: Run) -> float | None:
    """By which part response times rose (or fell: negative) within the run; None where there is no trend."""
    answered = run.answered
    start, end = run.window_unix_s
    if len(answered) < TREND_PARTS * 20 or end <= start:
        return None
    place = ((answered["started_at_unix_s"].to_numpy() - start) / (end - start) * TREND_PARTS).astype(int)
    place = place.clip(0, TREND_PARTS - 1)
    times = answered["response_time_ms"].to_numpy()
    parts = [times[place == number] for number in range(TREND_PARTS)]
    if min(len(part) for part in parts) < 10:
        return None
    medians = np.array([np.median(part) for part in parts])
    if medians.min() <= 0:
        return None
    early, late = np.triu_indices(TREND_PARTS, 1)
    slope = np.median((np.log(medians[late]) - np.log(medians[early])) / (late - early))  # Theil and Sen
    if abs(slope) * (TREND_PARTS - 1) <= math.log1p(TREND_LIMIT):
        return None
    # Imported here: a third of a second, which only a slope is worth.
    from scipy.stats import kendalltau  # noqa: PLC0415

    is_trend = kendalltau(np.arange(TREND_PARTS), medians).pvalue < TREND_ALPHA
    return math.expm1(slope * (TREND_PARTS - 1)) if is_trend else None


def _cpu_of_others(run: Run) -> float | None:
    """CPU percent of this machine that went neither to the load generator nor to the sampled replicas, over the whole
    run; None where the service ran elsewhere or something of it was not recorded."""
    machine = run.record.machine.cpu_percent
    generator = run.record.generator.cpu_percent_all
    if not run.is_local or machine is None or generator is None or run.samples.empty:
        return None
    grouped = run.samples.sort_values("read_at_unix_s").groupby("replica_id", observed=True)
    used = grouped["cpu_seconds"].last() - grouped["cpu_seconds"].first()
    elapsed = grouped["read_at_unix_s"].last() - grouped["read_at_unix_s"].first()
    if not (elapsed > 1).all():
        return None
    return float(machine - generator - (used / elapsed * 100).sum())


def _of_samples(run: Run) -> Said:
    found: Said = []
    start, end = run.window_unix_s
    doubt_s = min(GAP_LIMIT_S, max(1.0, GAP_DOUBT_SHARE * (end - start)))
    for name, ids in run.samples.groupby("replica", observed=True)["replica_id"].unique().items():
        if len(ids) > 1:
            found.append((f"{name} was replaced while it was measured: {len(ids)} containers had that name", "restart"))
    for event in run.events.to_dict("records"):
        if event["event"] not in LOSSES or event["at_unix_s"] >= end:
            continue
        after_s = event["at_unix_s"] - run.record.started_at_unix_s
        why = f" ({event['detail']})" if event["detail"] else ""
        text = f"{event['replica']}: {event['event']}, {after_s:.0f} s after the start{why}"
        found.append((text, LOSSES[event["event"]]))
    sampled = set(run.samples["replica"].unique())
    said = set(run.measured["replica"].unique()) - {""}
    unknown = sorted(name for name in said if run.replica_names.get(name, name) not in sampled)
    if sampled and unknown:
        text = f"{', '.join(unknown)} answered but was not sampled: CPU, memory and network are short of it"
        found.append((text, "unsampled"))
    for replica, samples in run.samples.groupby("replica", observed=True):
        name = str(replica)
        at = samples["sampled_at_unix_s"].to_numpy()
        gap = float(np.diff(at).max(initial=0.0))
        if gap > doubt_s:
            found.append((f"no sample of {name} for {gap:.1f} s", "gap" if gap > GAP_LIMIT_S else ""))
        if any((own["cpu_seconds"].diff() < 0).any() for _, own in samples.groupby("replica_id", observed=True)):
            found.append((f"{name} was restarted while it was measured", "restart"))
        absent = max(at[0] - start, end - at[-1])
        covered = coverage(run)[name]
        if absent > doubt_s or not covered.is_whole:
            text = f"{name} was there, or could be sampled, {PART_ONLY}: {covered}"
            found.append((text, "gap" if absent > GAP_LIMIT_S else ""))
        found += _of_columns(name, samples, (start, end), doubt_s)
        held = samples["throttled_seconds"].dropna()
        if len(held) and held.iloc[-1] > held.iloc[0]:
            found.append((f"the CPU limit held {name} back for {held.iloc[-1] - held.iloc[0]:.1f} s", ""))
    return found


def _of_columns(name: str, samples: pd.DataFrame, window_unix_s: tuple[float, float], doubt_s: float) -> Said:
    """Whether each column that the samples of a replica tell is told throughout."""
    found: Said = []
    at = samples["sampled_at_unix_s"].to_numpy()
    start, end = max(window_unix_s[0], at[0]), min(window_unix_s[1], at[-1])
    for column, what in COLUMNS_TOLD.items():
        told = at[samples[column].notna().to_numpy()]
        if not 0 < len(told) < len(at):
            continue
        absent = max(told[0] - start, end - told[-1], np.diff(told).max(initial=0.0))
        if absent > doubt_s:
            text = f"{what} of {name} was told {PART_ONLY}: not for {absent:.1f} s"
            found.append((text, "gap" if absent > GAP_LIMIT_S else ""))
    return found


def _of_percentiles(loads: list[Measurement]) -> list[Doubt]:
    """Percentiles that are not shown, those for the same deployments together; no median is an invalid run."""
    found = []
    thin: dict[str, list[str]] = {}
    for key, measure in QUANTITIES.items():
        if measure.quantile is None:
            continue
        few = [one for one in loads if not one.summary[key].is_measured and one.summary[key].n]
        for one in few if key == "median_ms" else ():
            text = f"{one.title}: too few requests even for a median: {one.summary[key].missing}"
            found.append(Doubt(text, "few requests", (one.name,)))
        if few and key != "median_ms":
            who = "; ".join(f"{one.title} ({one.summary[key].n:,} requests)" for one in few)
            thin.setdefault(who, []).append(f"p{measure.quantile * 100:.0f}")
    for who, names in thin.items():
        text = f"{' and '.join(names)} under load not shown: fewer than {ABOVE_PERCENTILE} requests lie above for {who}"
        found.append(Doubt(text))
    return found


def _of_plan(results: Results) -> list[Doubt]:
    """Whether the loads were those of the plan, and all that it names is in the record."""
    plan = results.experiment.plan
    names = {one.name for one in results.deployments}
    lost = [name for name in plan.deployments if name not in names]
    found = [Doubt(f"{name} is in the plan and not in the record", "incomplete") for name in lost]
    if results.experiment.ended_at is None:
        found.append(Doubt("The experiment was cut off: the record has no end of it.", is_of_a_lack=True))
    asked = {
        "users": plan.users,
        "warm_up_s": plan.warm_up_s,
        "run_time_s": None if plan.seconds is None else plan.warm_up_s + plan.seconds,
        "seed": plan.seed,
        "end_after_requests": plan.requests,
    }
    for one in results.deployments:
        found += _of_plan_of(one, plan)
        if one.status == STATUS_MEASURED and len(one.measured_rounds) != plan.rounds:
            not_run = next((each for each in one.rounds if each.status == NOT_RUN), None)
            planned = "1 round was" if plan.rounds == 1 else f"{plan.rounds} rounds were"
            text = f"{one.title}: {len(one.measured_rounds)} of {planned} measured"
            text += f": {not_run.reason or 'no reason was given'}" if not_run else ""
            found.append(Doubt(text, is_of_a_lack=True))
        for number, run in one.loads.items():
            for key, wanted in asked.items():
                had = getattr(run.record, key)
                if wanted is not None and had is not None and had != wanted:
                    text = f"{one.title}, round {number}: {key} was {had:g}, the plan says {wanted:g}"
                    found.append(Doubt(text, "conditions", (one.name,)))
    return found


def _of_plan_of(one: Deployment, plan: PlanRecord) -> list[Doubt]:
    """Whether the users of a deployment's loads, and the limits of its containers, were those of the plan."""
    found = []
    user_class = f"{plan.user_class.title().replace('_', '')}User"
    for number, run in one.loads.items():
        if run.record.user_class != user_class:
            text = f"{one.title}, round {number}: the users were {run.record.user_class[:LONGEST_QUOTE]}, "
            found.append(Doubt(f"{text}the plan says {user_class[:LONGEST_QUOTE]}", "conditions", (one.name,)))
    limits = {"cpus": plan.cpus, "memory_bytes": None if plan.memory_mb is None else plan.memory_mb * MIB}
    for each in () if one.is_host else one.measured_rounds:
        for key, wanted in limits.items():
            had = getattr(each.limits, key)
            if wanted is not None and had is not None and had != wanted:
                text = f"{one.title}, round {each.number}: the limit of {key} was {had:,.15g}, "
                found.append(Doubt(f"{text}the plan says {wanted:,.15g}", "conditions", (one.name,)))
    return found


def _of_times(results: Results) -> list[Doubt]:
    """No two runs of an experiment are of the same time: what ran at once measured each other, or is a copy."""
    spans = [
        (run.record.started_at_unix_s, run.record.ended_at_unix_s or run.window_unix_s[1], one, each.number)
        for one in results.deployments
        for each in one.rounds
        for run in (each.single_pass, each.load)
        if run is not None
    ]
    found = _of_copies(results)
    began_s = datetime.fromisoformat(results.experiment.started_at).timestamp()
    if spans and not began_s - START_SLACK_S <= min(span[0] for span in spans) <= began_s + LONGEST_WAIT_S:
        names = tuple(one.name for one in results.deployments)
        found.append(Doubt("The experiment's start is not the time of its runs: they are another's", "clock", names))
    last: tuple[float, Deployment, int] | None = None
    for began, ended, one, number in sorted(spans, key=lambda span: span[:2]):
        if last is not None and began < last[0]:
            text = (
                f"{last[1].title}, round {last[2]}, and {one.title}, round {number}, have runs of the same time: "
                "one is a copy of the other, or they ran at once"
            )
            found.append(Doubt(text, "twice", (last[1].name, one.name)))
        if last is None or ended > last[0]:
            last = (ended, one, number)
    return found


def _of_copies(results: Results) -> list[Doubt]:
    """No two runs have the same response times to the nanosecond: one is a copy, at whatever time it is said to be."""
    found = []
    known: dict[bytes, tuple[Deployment, int]] = {}
    for one in results.deployments:
        for number, run in [*one.single_passes.items(), *one.loads.items()]:
            if run.fingerprint is None:
                continue
            first, first_number = known.setdefault(run.fingerprint, (one, number))
            if (first.name, first_number) != (one.name, number):
                text = (
                    f"{first.title}, round {first_number}, and {one.title}, round {number}, have the same response "
                    "times: one is a copy of the other"
                )
                found.append(Doubt(text, "copy", (first.name, one.name)))
    return found


def _of_comparison(results: Results) -> list[Doubt]:
    measured = [one for one in results.deployments if one.loads]
    elsewhere = results.engine_elsewhere
    hosts, containers = ([one for one in measured if one.is_host is is_host] for is_host in (True, False))
    found = _of_records(results, containers)
    if elsewhere is not None and hosts and containers:
        text = f"Host process and containers ran on two machines: {elsewhere}. Host against container gets no verdict."
        found.append(Doubt(text))
        groups = [hosts, containers]
    else:
        groups = [measured]
    for one in measured:
        found += _of_unlike(one, one)
    for group in groups:
        for one in group[1:]:
            found += _of_unlike(one, group[0])
        found += _of_limits(results, group) + _of_versions(group)
    found += _of_memory(results, containers)
    images = {one.image.id for one in measured if one.image and one.image.id}
    if len(images) > 1:
        names = tuple(one.name for one in measured if one.image)
        text = "The containers ran different images: what differs may be theirs, not Docker's"
        found.append(Doubt(text, "image", names))
    if any(run.record.model.source == "bundled" for run in results.runs):
        found.append(
            Doubt(
                "The small bundled model answered, not DistilBERT: absolute figures are those of a toy. Compare "
                "deployments with it, not models: an answer costs it so little that HTTP and Docker's share looks "
                "larger than beside a real model."
            )
        )
    if any(run.is_local for one in measured for run in one.loads.values()):
        text = "Load generator and service share this machine's processors: under load one takes time from the other."
        found.append(Doubt(text))
    return found


def _of_records(results: Results, containers: list[Deployment]) -> list[Doubt]:
    """What the record lacks to tell whether host process and containers ran on one machine."""
    machine, engine = results.experiment.machine, results.experiment.engine or DockerEngine()
    found = []
    if machine.cpu_count is None:
        found.append(Doubt("The record does not say how many CPUs the machine has."))
    if containers and not can_be_told_apart(machine, engine):
        text = "The record does not tell whether the engine ran on this machine: kernel and CPUs are not known."
        found.append(Doubt(text))
    return found


def _of_unlike(one: Deployment, other: Deployment) -> list[Doubt]:
    unlike = why_unlike(one, other)
    if unlike is None:
        return []
    model = tuple(name for name in unlike.differing if name == MODEL)
    others = Unlike(
        tuple(name for name in unlike.differing if name != MODEL),
        tuple(name for name in unlike.untold if name != MODEL),
    )
    parts = {"conditions": others}
    parts |= {"model": Unlike(model)} if model else {}
    parts |= {"model not told": Unlike(untold=(MODEL,))} if MODEL in unlike.untold else {}
    names = (one.name, other.name)
    who = f"{one.title}, its own runs" if one is other else f"{one.title} against {other.title}"
    return [Doubt(f"{who}: {part}", kind, names) for kind, part in parts.items() if part != Unlike()]


def _of_limits(results: Results, measured: list[Deployment]) -> list[Doubt]:
    """Whether all could use as many cores. No limit, or one beyond the machine's cores, is the machine's cores."""
    cores = {one.name: usable_cpus(results, one) for one in measured}
    if len(set().union(*cores.values())) <= 1:
        return []
    said = ", ".join(
        f"{one.title} {' and '.join(sorted(_cpus(limit) for limit in cores[one.name]))}" for one in measured
    )
    text = f"Not all could use as many cores of the processor: {said}. What differs may be the limit."
    return [Doubt(text, "cpu limit", tuple(cores))]


def _of_memory(results: Results, containers: list[Deployment]) -> list[Doubt]:
    """Whether all containers could use as much memory; the host process has no limit of its own."""
    limits = {one.name: memory_limits_bytes(results, one) for one in containers}
    if len(set().union(*limits.values())) <= 1:
        return []
    said = ", ".join(f"{one.title} {_megabytes(limits[one.name])}" for one in containers)
    return [Doubt(f"Not all containers could use as much memory: {said}.", "conditions", tuple(limits))]


def _megabytes(limits: set[float | None]) -> str:
    return " and ".join(sorted("without a limit" if one is None else f"{one / 1e6:,.0f} MB" for one in limits))


def _cpus(limit: float | None) -> str:
    return "without a limit" if limit is None else f"{limit:g}"


def _of_versions(measured: list[Deployment]) -> list[Doubt]:
    found = []
    told = {one.title: _versions(one) for one in measured}
    for name in sorted({name for versions in told.values() for name in versions}):
        ran = {title: versions.get(name, "none") for title, versions in told.items()}
        if len(set(ran.values())) > 1:
            each = ", ".join(f"{title} {version}" for title, version in ran.items())
            found.append(Doubt(f"Not the same {name} served everywhere: {each}. What differs may come from that."))
    return found


def _of_rounds(results: Results) -> list[Doubt]:
    """What so few rounds can't tell."""
    rounds = {len(one.loads) for one in results.deployments if one.loads}
    if not rounds:
        return []
    if max(rounds) == 1:
        return [
            Doubt(
                "Each deployment was measured in one round: no interval, and no verdict. What differs between two "
                "starts of the same thing can't be told from what the deployment does; run with --set rounds=5."
            )
        ]
    found = []
    if len(rounds) > 1:
        found.append(Doubt(f"Not all deployments were measured in as many rounds: {min(rounds)} to {max(rounds)}."))
    if min(rounds) < FEW_ROUNDS:
        few = f"{min(rounds)} round{'s' if min(rounds) != 1 else ''}"
        text = f"Intervals are from {few}, and wide for that; {FEW_ROUNDS} or more make them narrower."
        found.append(Doubt(text))
    return found


def _versions(deployment: Deployment) -> dict[str, str]:
    """The versions of what computed in the service, as it told them itself, in any of its rounds."""
    found: dict[str, dict[str, None]] = {}
    for run in deployment.loads.values():
        for name, version in run.record.service_versions.items():
            found.setdefault(name, {})[str(version)] = None
    return {name: " and ".join(versions) for name, versions in found.items()}
