"""When not to trust the figures: what a run's files say against it."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.frames import Deployment, Results, Run
from analysis.summary import why_unlike

GENERATOR_LIMIT_PERCENT = 90
ERROR_LIMIT = 0.01
REQUESTS_ABOVE_PERCENTILE = 100
GAP_LIMIT_S = 5.0


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
    found = []
    for run, what in ((deployment.single_pass, "single pass"), (deployment.load, "load")):
        if run is not None:
            found += [Caveat(f"{deployment.title}, {what}: {text}", serious) for text, serious in _of_run(run)]
    return found


def _of_run(run: Run) -> list[tuple[str, bool]]:
    found = []
    generator = run.record["generator"]
    percent = generator["cpu_percent"]
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
    if run.record.get("ended_by") in (None, "interrupted"):
        found.append(("the run was cut off before its end", True))
    found += _of_samples(run)
    found += [(problem, False) for problem in run.record["replicas"]["problems"]]
    found += [
        (f"{replica['name']} was not sampled: it {replica['reason']}", True)
        for replica in run.record["replicas"]["list"]
        if not replica["sampled"]
    ]
    return found


def _of_samples(run: Run) -> list[tuple[str, bool]]:
    found = []
    start, end = run.window_unix_s
    for _, samples in run.samples.groupby("replica_id"):
        name = samples["replica"].iloc[0]
        gap = samples["sampled_at_unix_s"].diff().max()
        if gap > GAP_LIMIT_S:
            found.append((f"no sample of {name} for {gap:.1f} s", True))
        if (samples["cpu_seconds"].diff() < 0).any():
            found.append((f"{name} was restarted while it was measured", True))
        came = samples["sampled_at_unix_s"].iloc[0] - start
        left = end - samples["sampled_at_unix_s"].iloc[-1]
        if max(came, left) > GAP_LIMIT_S:
            found.append((f"{name} was there for part of the run only", True))
    return found


def _of_tails(results: Results) -> list[Caveat]:
    """Percentiles under load that rest on few requests."""
    found = []
    for q in (95, 99):
        thin = [
            f"{one.title} ({len(one.load.measured):,} requests)"
            for one in results.deployments
            if one.load is not None and len(one.load.measured) * (100 - q) / 100 < REQUESTS_ABOVE_PERCENTILE
        ]
        if thin:
            found.append(
                Caveat(
                    f"p{q} under load: fewer than {REQUESTS_ABOVE_PERCENTILE} lie above it for {', '.join(thin)}",
                    False,
                )
            )
    return found


def _of_comparison(results: Results) -> list[Caveat]:
    found = []
    measured = [one for one in results.deployments if one.load is not None]
    for one in measured[1:]:
        unlike = why_unlike(one, measured[0])
        if unlike:
            found.append(Caveat(f"{one.title} against {measured[0].title}: {unlike}", True))
    sources = {
        ((one.load.record.get("service") or {}).get("model") or {}).get("source") for one in measured if one.load
    }
    if "bundled" in sources:
        found.append(
            Caveat(
                "The small bundled model answered, not DistilBERT. Compare deployments with it, not models: an answer "
                "costs it so little that HTTP and Docker's share looks larger than beside a real model.",
                False,
            )
        )
    if len(measured) > 1:
        found.append(
            Caveat(
                "Each deployment was measured once, one after the other. The intervals describe the variation within "
                "a run; what changed between the runs (temperature, other programs) is not in them.",
                False,
            )
        )
    if any(one.load and "127.0.0.1" in str(one.load.record.get("host")) for one in measured):
        found.append(
            Caveat(
                "Load generator and service share this machine's processors: under load one takes time from the other.",
                False,
            )
        )
    return found
