"""When not to trust the figures: what a run's files say against it."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.frames import Deployment, Results, Run
from analysis.summary import throughput_per_second, why_no_samples, why_unlike

GENERATOR_LIMIT_PERCENT = 90
ERROR_LIMIT = 0.01
REQUESTS_ABOVE_PERCENTILE = 100
GAP_LIMIT_S = 5.0
GAP_LIMIT_SHARE = 0.05
"""Of the measured phase: in a short run less is missing before it shows in a mean. At least a second in any run."""
OTHERS_LIMIT_PERCENT = 30
"""CPU that neither load generator nor service used; Docker's proxy and the kernel's network work are part of it."""
UNSTEADY = 0.25
"""Standard deviation of the answers in each second over their mean, above which a run was not one steady state."""


@dataclass(frozen=True)
class Caveat:
    """One reason for doubt. ``is_serious``: the figures it is about are not to be used."""

    text: str
    is_serious: bool


def caveats(results: Results) -> list[Caveat]:
    """All doubts about an experiment, the serious ones first."""
    found = [one for deployment in results.deployments for one in _of_deployment(deployment)]
    found += _of_tails(results) + _of_comparison(results)
    return sorted(found, key=lambda caveat: not caveat.is_serious)


def _of_deployment(deployment: Deployment) -> list[Caveat]:
    found = [Caveat(f"{deployment.title}: {text}", True) for text in deployment.unread]
    if deployment.status == "measured" and deployment.single_pass is None and deployment.load is None:
        found.append(Caveat(f"{deployment.title}: it is said to be measured, but no run of it can be read", True))
    for run, what in ((deployment.single_pass, "single pass"), (deployment.load, "load")):
        if run is not None:
            found += [Caveat(f"{deployment.title}, {what}: {text}", serious) for text, serious in _of_run(run)]
    return found


def _of_run(run: Run) -> list[tuple[str, bool]]:
    found = []
    generator = run.record["generator"]
    percent = generator.get("cpu_percent")
    if generator["cpu_warnings"] or (percent or 0) > GENERATOR_LIMIT_PERCENT:
        spent = f"{percent:.0f}% of a core" if percent is not None else "most of a core"
        found.append(
            (f"the load generator itself was short of CPU ({spent}); latency and throughput are its own", True)
        )
    measured = run.measured
    errors = (measured["error"] != "").sum()
    if len(measured) and errors / len(measured) > ERROR_LIMIT:
        first = measured[measured["error"] != ""]["error"].iloc[0]
        found.append((f"{errors} of {len(measured)} requests failed (the first: {first})", True))
    seconds = throughput_per_second(run)
    if len(seconds) > 1 and seconds.std() > UNSTEADY * seconds.mean():
        found.append(
            (
                f"throughput was not steady: {seconds.min():,} to {seconds.max():,} answers a second; "
                "a mean says little of such a run",
                False,
            )
        )
    others = _cpu_of_others(run)
    if others is not None and others > OTHERS_LIMIT_PERCENT:
        found.append((f"other programs and the system took {others:.0f}% of a core meanwhile", False))
    if run.record.get("ended_by") in (None, "interrupted"):
        found.append(("the run was cut off before its end", True))
    said = run.record.get("requests")
    if run.record.get("ended_at_unix_s") is not None and said is not None and said != len(run.requests):
        found.append((f"{said:,} requests were recorded, but {len(run.requests):,} rows can be read", True))
    found += _of_samples(run)
    found += [(str(problem), False) for problem in run.record["replicas"]["problems"]]
    reason = why_no_samples(run)
    if reason is not None and reason not in run.record["replicas"]["problems"]:
        found.append((reason, True))
    return found


def _cpu_of_others(run: Run) -> float | None:
    """CPU percent of this machine that went neither to the load generator nor to the sampled replicas, over the whole
    run; None where the service ran elsewhere or something of it was not recorded."""
    machine = (run.record.get("machine") or {}).get("cpu_percent")
    generator = run.record["generator"].get("cpu_percent_all", run.record["generator"].get("cpu_percent"))
    if not run.is_local or machine is None or generator is None or run.samples.empty:
        return None
    grouped = run.samples.sort_values("read_at_unix_s").groupby("replica_id")
    used = grouped["cpu_seconds"].last() - grouped["cpu_seconds"].first()
    elapsed = grouped["read_at_unix_s"].last() - grouped["read_at_unix_s"].first()
    if not (elapsed > 1).all():
        return None
    return float(machine - generator - (used / elapsed * 100).sum())


def _of_samples(run: Run) -> list[tuple[str, bool]]:
    found = []
    start, end = run.window_unix_s
    limit_s = min(GAP_LIMIT_S, max(1.0, GAP_LIMIT_SHARE * (end - start)))
    for name, ids in run.samples.groupby("replica")["replica_id"].unique().items():
        if len(ids) > 1:
            found.append((f"{name} was replaced while it was measured: {len(ids)} containers had that name", True))
    for event in run.events.to_dict("records"):
        if event["event"] in ("ended", "not sampled") and event["at_unix_s"] < end:
            after_s = event["at_unix_s"] - run.record["started_at_unix_s"]
            why = f" ({event['detail']})" if event["detail"] else ""
            found.append((f"{event['replica']}: {event['event']}, {after_s:.0f} s after the start{why}", True))
    known = set(run.samples["replica"]) | set(run.samples["replica_id"])
    unknown = sorted(set(run.measured["replica"]) - known - {""})
    if known and unknown:
        found.append(
            (f"{', '.join(unknown)} answered but was not sampled: CPU, memory and network are short of it", True)
        )
    for _, samples in run.samples.groupby("replica_id"):
        name = samples["replica"].iloc[0]
        gap = samples["sampled_at_unix_s"].diff().max()
        if gap > limit_s:
            found.append((f"no sample of {name} for {gap:.1f} s", True))
        if (samples["cpu_seconds"].diff() < 0).any():
            found.append((f"{name} was restarted while it was measured", True))
        came = samples["sampled_at_unix_s"].iloc[0] - start
        left = end - samples["sampled_at_unix_s"].iloc[-1]
        if max(came, left) > limit_s:
            found.append((f"{name} was there, or could be sampled, for part of the run only", True))
    return found


def _of_tails(results: Results) -> list[Caveat]:
    """Percentiles that rest on few requests, those that rest on the same ones together."""
    thin: dict[tuple[str, str], list[str]] = {}
    for what in ("under load", "in the single pass"):
        for q in (95, 99):
            few = []
            for one in results.deployments:
                run = one.load if what == "under load" else one.single_pass
                if run is not None and len(run.measured) * (100 - q) / 100 < REQUESTS_ABOVE_PERCENTILE:
                    few.append(f"{one.title} ({len(run.measured):,} requests)")
            if few:
                thin.setdefault((what, "; ".join(few)), []).append(f"p{q}")
    return [
        Caveat(f"{' and '.join(qs)} {what}: fewer than {REQUESTS_ABOVE_PERCENTILE} requests lie above for {few}", False)
        for (what, few), qs in thin.items()
    ]


def _of_comparison(results: Results) -> list[Caveat]:
    found = []
    measured = [one for one in results.deployments if one.load is not None]
    for one in measured[1:]:
        unlike = why_unlike(one, measured[0])
        if unlike:
            found.append(Caveat(f"{one.title} against {measured[0].title}: {unlike}", True))
    images = {str(one.image["id"]) for one in measured if one.image and one.image.get("id")}
    if len(images) > 1:
        found.append(Caveat("The containers ran different images: what differs may be theirs, not Docker's", True))
    for name in sorted({name for one in measured for name in _versions(one.load)}):
        ran = {one.title: _versions(one.load).get(name, "none") for one in measured}
        if len(set(ran.values())) > 1:
            each = ", ".join(f"{title} {version}" for title, version in ran.items())
            found.append(
                Caveat(f"Not the same {name} served everywhere: {each}. What differs may come from that.", False)
            )
    if any(_model_source(run) == "bundled" for one in results.deployments for run in (one.single_pass, one.load)):
        found.append(
            Caveat(
                "The small bundled model answered, not DistilBERT: absolute figures are those of a toy. Compare "
                "deployments with it, not models: an answer costs it so little that HTTP and Docker's share looks "
                "larger than beside a real model.",
                False,
            )
        )
    if measured:
        found.append(
            Caveat(
                "Each deployment was measured once, one after the other: the order in which they ran and noise can't "
                "be told from what the deployment does. The intervals describe the variation within a run, as if its "
                "requests and seconds were independent; what changed between runs (temperature, other programs) is "
                "not in them.",
                False,
            )
        )
    if any(one.load and one.load.is_local for one in measured):
        found.append(
            Caveat(
                "Load generator and service share this machine's processors: under load one takes time from the other.",
                False,
            )
        )
    return found


def _versions(run: Run | None) -> dict[str, str]:
    """The versions of what computed in the service, as it told them itself."""
    versions = ((run.record.get("service") or {}) if run else {}).get("versions")
    return versions if isinstance(versions, dict) else {}


def _model_source(run: Run | None) -> str | None:
    service = (run.record.get("service") or {}) if run else {}
    return (service.get("model") or {}).get("source")
