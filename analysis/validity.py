"""When not to trust the figures: what makes a run invalid, and what is a reason for doubt only.

Invalid: a figure must not be used. The page says so in red, verdicts on the deployment are withheld, and the command
ends with its own exit code. A doubt is something to mind; the figures stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.frames import Deployment, Results, Run
from analysis.measures import MEASURES
from analysis.series import throughput_per_second
from analysis.summary import ABOVE_PERCENTILE, Measured, why_no_samples, why_unlike

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

KINDS = {
    "generator": "the load generator was short of CPU",
    "cpu limit": "the CPU limit differed",
    "model": "the model differed",
    "conditions": "the runs were not alike",
    "image": "the images differed",
    "restart": "a replica restarted",
    "gap": "samples have gaps over 5 s",
    "errors": "over 1% of the requests failed",
    "few requests": "too few requests",
    "trend": "a trend within the run",
    "cut off": "a run was cut off",
    "rows lost": "rows are lost",
    "unreadable": "files can't be read",
    "unsampled": "a replica is in no figure",
}
"""What makes a run invalid -> how it is called on the page."""


@dataclass(frozen=True)
class Doubt:
    """One reason to mistrust figures: of which ``kind``, and of which ``deployments`` (their names; none: of all).

    ``kind`` is one of ``KINDS`` where figures are invalid, and empty where there is something to mind only.
    """

    text: str
    kind: str = ""
    deployments: tuple[str, ...] = ()

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


def examine(results: Results, loads: Iterable[Measured]) -> Validity:
    """All that speaks against an experiment, what makes it invalid first."""
    found = [one for deployment in results.deployments for one in _of_deployment(deployment)]
    found += _of_percentiles(list(loads)) + _of_comparison(results) + _of_rounds(results)
    merged = _merged(found)
    return Validity(tuple(sorted(merged, key=lambda one: not one.is_invalid)))


def _merged(found: list[Doubt]) -> list[Doubt]:
    """Each text once, for all the deployments that it was said of."""
    texts: dict[tuple[str, str], tuple[str, ...]] = {}
    for one in found:
        known = texts.get((one.text, one.kind), ())
        texts[one.text, one.kind] = (*known, *(name for name in one.deployments if name not in known))
    return [Doubt(text, kind, names) for (text, kind), names in texts.items()]


def _of_deployment(deployment: Deployment) -> list[Doubt]:
    own = (deployment.name,)
    found = []
    for one in deployment.rounds:
        found += [Doubt(f"{deployment.title}: {text}", "unreadable", own) for text in one.unread]
        if one.status == "failed":
            found.append(Doubt(f"{deployment.title}, round {one.number} failed: {one.reason or 'no reason was given'}"))
        if one.status == "measured" and one.single_pass is None and one.load is None and not one.unread:
            text = f"{deployment.title}, round {one.number}: it is said to be measured, but no run of it can be read"
            found.append(Doubt(text, "unreadable", own))
        for run, what in ((one.single_pass, "single pass"), (one.load, "load")):
            if run is None:
                continue
            where = f"{deployment.title}, {what}" + (f" of round {one.number}" if len(deployment.rounds) > 1 else "")
            said = _of_run(run) + (_of_load(run) if what == "load" else [])
            found += [Doubt(f"{where}: {text}", kind, own if kind else ()) for text, kind in said]
    return found


Said = list[tuple[str, str]]
"""What is said of a run, and what kind of invalid it makes it; empty for something to mind."""


def _of_run(run: Run) -> Said:
    found: Said = []
    generator = run.record["generator"]
    percent = generator.get("cpu_percent")
    if generator["cpu_warnings"] or (percent or 0) > GENERATOR_LIMIT_PERCENT:
        spent = f"{percent:.0f}% of a core" if percent is not None else "most of a core"
        found.append(
            (f"the load generator itself was short of CPU ({spent}); latency and throughput are its own", "generator")
        )
    measured = run.measured
    failed = measured["error"][(measured["error"] != "").to_numpy()]
    if len(measured) and len(failed) / len(measured) > ERROR_LIMIT:
        found.append((f"{len(failed):,} of {len(measured):,} requests failed (the first: {failed.iloc[0]})", "errors"))
    if run.record.get("ended_by") in (None, "interrupted"):
        found.append(("the run was cut off before its end", "cut off"))
    if run.record.get("ended_at_unix_s") is not None and run.rows_lost:
        text = f"{run.record['requests']:,} requests were recorded, but {len(run.requests):,} rows can be read; "
        found.append((f"{text}the figures are of these, up to the last", "rows lost"))
    said = run.record.get("requests")
    if said is not None and len(run.requests) > said:
        text = f"{said:,} requests were recorded, but there are {len(run.requests):,} rows: some are of another run"
        found.append((text, "rows lost"))
    found += _of_samples(run)
    found += [(str(problem), "") for problem in run.record["replicas"]["problems"]]
    reason = why_no_samples(run)
    if reason is not None and reason not in run.record["replicas"]["problems"]:
        found.append((reason, ""))
    return found


def _of_load(run: Run) -> Said:
    """What only a load can be told by: it has to be one steady state."""
    found: Said = []
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
    machine = (run.record.get("machine") or {}).get("cpu_percent")
    generator = run.record["generator"].get("cpu_percent_all", run.record["generator"].get("cpu_percent"))
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
        if event["event"] not in ("ended", "restarted", "not sampled") or event["at_unix_s"] >= end:
            continue
        after_s = event["at_unix_s"] - run.record["started_at_unix_s"]
        why = f" ({event['detail']})" if event["detail"] else ""
        text = f"{event['replica']}: {event['event']}, {after_s:.0f} s after the start{why}"
        found.append((text, "unsampled" if event["event"] == "not sampled" else "restart"))
    known = set(run.samples["replica"].unique()) | set(run.samples["replica_id"].unique())
    unknown = sorted(set(run.measured["replica"].unique()) - known - {""})
    if known and unknown:
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
        if absent > doubt_s:
            text = f"{name} was there, or could be sampled, for part of the run only"
            found.append((text, "gap" if absent > GAP_LIMIT_S else ""))
        held = samples["throttled_seconds"].dropna()
        if len(held) and held.iloc[-1] > held.iloc[0]:
            found.append((f"the CPU limit held {name} back for {held.iloc[-1] - held.iloc[0]:.1f} s", ""))
    return found


def _of_percentiles(loads: list[Measured]) -> list[Doubt]:
    """Percentiles that are not shown, those for the same deployments together; no median is an invalid run."""
    found = []
    thin: dict[str, list[str]] = {}
    for key, measure in MEASURES.items():
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


def _of_comparison(results: Results) -> list[Doubt]:
    found = []
    measured = [one for one in results.deployments if one.loads]
    for one in measured[1:]:
        unlike = why_unlike(one, measured[0])
        if unlike:
            kind = "model" if "model" in unlike else "conditions"
            found.append(
                Doubt(f"{one.title} against {measured[0].title}: {unlike}", kind, (one.name, measured[0].name))
            )
    found += _of_limits(results, measured)
    images = {str(one.image["id"]) for one in measured if one.image and one.image.get("id")}
    if len(images) > 1:
        names = tuple(one.name for one in measured if one.image)
        text = "The containers ran different images: what differs may be theirs, not Docker's"
        found.append(Doubt(text, "image", names))
    found += _of_versions(measured)
    if any(_model_source(run) == "bundled" for run in results.runs):
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


def _of_limits(results: Results, measured: list[Deployment]) -> list[Doubt]:
    """Whether all could use as many cores. No limit, or one beyond the machine's cores, is the machine's cores."""
    cores = results.experiment["machine"].get("cpu_count")
    usable: dict[str, set[float | None]] = {}
    for one in measured:
        limits = {each.limits.get("cpus") for each in one.rounds if each.load is not None}
        usable[one.name] = {min(limit, cores) if limit and cores else limit or cores for limit in limits}
    if len(set().union(*usable.values())) <= 1:
        return []
    said = ", ".join(
        f"{one.title} {' and '.join(sorted(_cpus(limit) for limit in usable[one.name]))}" for one in measured
    )
    text = f"Not all could use as many cores of the processor: {said}. What differs may be the limit."
    return [Doubt(text, "cpu limit", tuple(usable))]


def _cpus(limit: float | None) -> str:
    return "without a limit" if limit is None else f"{limit:g}"


def _of_versions(measured: list[Deployment]) -> list[Doubt]:
    found = []
    told = {one.title: _versions(next(iter(one.loads.values()))) for one in measured}
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
        text = f"Intervals are from {min(rounds)} rounds, and wide for that; {FEW_ROUNDS} or more make them narrower."
        found.append(Doubt(text))
    return found


def _versions(run: Run) -> dict[str, str]:
    """The versions of what computed in the service, as it told them itself."""
    versions = (run.record.get("service") or {}).get("versions")
    return versions if isinstance(versions, dict) else {}


def _model_source(run: Run) -> str | None:
    return ((run.record.get("service") or {}).get("model") or {}).get("source")
