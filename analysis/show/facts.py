"""The facts in the page's header and at its end: what was run, and on which machine, as the records say.

Everything that the page and Markdown take from the records is taken here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.changes import cores, name_of
from analysis.judge.check_open import is_open
from analysis.measure.rounds import Measurement
from analysis.read.results import Results
from analysis.read.runs import Run
from analysis.show.elements import Fact
from analysis.show.layout_facts import blocks_of_load, layout_facts, was_alone
from runfiles.cluster import NodeRecord
from runfiles.events import CPU, STATUS_MEASURED
from runfiles.machines import Machine
from runfiles.reconnect import read_reconnect_every
from runfiles.records import ExperimentRecord, GitState, InferenceEngine, PlanRecord

OWN_PACKAGES = ("numpy", "pandas", "plotly", "scipy")
"""Packages that the figures come from, in the versions that made this page."""


HOW_USERS_CONNECT = {
    "keep_alive": "A user keeps its connection, if the service does.",
    "new_connection": "Each request opens a connection of its own.",
}
"""Class of the users, as a plan names it -> what that means for connections."""


HOW_AN_OPEN_LOAD_CONNECTS = {
    "keep_alive": "Connections are kept, if the service does; where all are busy, one more is opened.",
    "new_connection": HOW_USERS_CONNECT["new_connection"],
}
"""As ``HOW_USERS_CONNECT``, where requests are due at a rate."""
OPEN = "whether or not earlier ones were answered"


def time_of_start(results: Results) -> str:
    """When the experiment began."""
    return words.time_of_day(results.experiment.started_at)


def command(results: Results) -> str:
    """The command that ran the experiment."""
    return str(results.experiment.command)


def load_in_words(results: Results) -> str:
    """How many users sent requests, or at which rate they were due."""
    plan = results.experiment.plan
    if plan.capacity is not None:
        between = f"between {plan.capacity.lowest:,g} and {plan.capacity.highest:,g} requests/s"
        return f"Search for the capacity at {plan.capacity.slo}, {between}"
    if plan.rates:
        of = f"in {len(plan.rates)} steps" if results.is_staircase else OPEN
        ends = dict.fromkeys((plan.rates[0], plan.rates[-1]))
        return f"{' to '.join(f'{rate:,g}' for rate in ends)} requests/s, {of}"
    if plan.rate is not None:
        return f"{plan.rate:,g} requests/s, {OPEN}"
    return f"{plan.users} user" + ("s" if plan.users != 1 else "")


def user_class(results: Results) -> str:
    """The class of the users, as the plan names it."""
    return str(results.experiment.plan.user_class)


def users(results: Results) -> str:
    """The class of the users, and when they replace their connections, in the words of a plan."""
    every = results.experiment.plan.reconnect_every
    return user_class(results) + ("" if every is None else f", reconnect_every = {every}")


def rounds(analysis: Analysis) -> str:
    """How many rounds were measured, of those in the plan."""
    return words.rounds(analysis.loads, analysis.results.experiment.plan.rounds)


def service(results: Results) -> str:
    """The service that was measured, and what it was asked; empty in experiments of earlier versions, which had one
    service only."""
    found = results.experiment.service
    return "" if found is None else f"{found.name} ({found.method} {found.path})"


def header_facts(analysis: Analysis) -> tuple[Fact, ...]:
    """What a reader has to know before the figures."""
    results = analysis.results
    measured = [deployment.title for deployment in results.deployments if deployment.loads or deployment.single_passes]
    apart = " of the load generator" if results.engine_elsewhere else ""
    return (
        Fact("Date", time_of_start(results)),
        Fact("Deployments", "; ".join(measured) or "none was measured"),
        Fact(f"Machine{apart}", machine_in_words(results.experiment.machine)),
        Fact("Docker engine", engine_in_words(results)),
        *([Fact("Service", told)] if (told := service(results)) else []),
        Fact("Model", ", ".join(models_that_answered(results)) or _no_model(results)),
        Fact("Load", _load(analysis)),
        *([Fact("Changes", told)] if (told := _changes(results)) else []),
    )


def _changes(results: Results) -> str:
    """What was changed while the load went on; empty if nothing was."""
    planned = results.experiment.plan.changes
    said = "; ".join(f"{name_of(change)} at {change.at_s:g} s" for change in planned)
    return f"{said}, since the measured part began" if planned else ""


def run_facts(analysis: Analysis) -> tuple[Fact, ...]:
    """All that was recorded of how the experiment was run."""
    results = analysis.results
    experiment = results.experiment
    facts = [
        Fact("Command", code=command(results)),
        Fact("Folder", str(results.folder)),
        Fact("Started, ended", _times(experiment)),
    ]
    facts += layout_facts(analysis) if analysis.loads else ()
    if experiment.order:
        facts.append(Fact("Order of the starts", _order(experiment.order)))
    facts += [
        Fact("Machine", _machine_and_kernel(experiment.machine)),
        Fact("Docker engine", _whole_engine(experiment)),
    ]
    if experiment.host_machine is not None:
        facts.append(Fact("Machine of the host process", _machine_and_kernel(experiment.host_machine)))
    facts += [Fact("Nodes", text) for text in _nodes(experiment)]
    facts += images(results)
    facts += [Fact("Limits", _limits(experiment.plan))]
    facts += [Fact("Processors", text) for text in _processors(experiment.plan)]
    facts.append(Fact("Commit", commit(experiment.git)))
    facts += [Fact("Texts", text) for text in _texts(results)]
    facts.append(Fact("Versions", ", ".join(_named(_versions(analysis)))))
    return (*facts, *(Fact(load.title, _first_run(load)) for load in analysis.loads))


def machine_in_words(machine: Machine) -> str:
    count = machine.cpu_count
    parts = [
        machine.cpu_model or "unknown processor",
        f"{count} cores" if count else "unknown number of cores",
    ]
    if machine.memory_bytes:
        parts.append(f"{machine.memory_bytes / 1e9:.1f} GB")
    return ", ".join(parts)


def _machine_and_kernel(machine: Machine) -> str:
    return f"{machine_in_words(machine)}, {machine.system or 'unknown system'} {machine.kernel or ''}"


def engine_in_words(results: Results) -> str:
    engine = results.experiment.engine
    version_ = (engine.version or "unknown version") if engine else "none"
    return f"{version_}; {results.engine_elsewhere}" if results.engine_elsewhere else version_


def _nodes(experiment: ExperimentRecord) -> list[str]:
    """The nodes of the swarm, where the load came in and came from, and where replicas could run; nothing for one
    machine."""
    cluster, plan = experiment.cluster, experiment.plan
    if cluster is None:
        return []
    said = [", ".join(node_in_words(node) for node in cluster.nodes)]
    said.append(f"the load came in at {cluster.entry_node or 'a node that is not known'}")
    if plan.workers is not None:
        said.append(f"{plan.workers} worker{'s' if plan.workers != 1 else ''} in the swarm sent it")
    said += [f"no replica on {', '.join(plan.load_nodes)}"] if plan.load_nodes else []
    where = f" ({cluster.one_node})" if cluster.one_node else ""
    said += [f"placement: {plan.placement}{where}"] if plan.placement else []
    return ["; ".join(said)]


def node_in_words(node: NodeRecord) -> str:
    memory = f", {node.memory_bytes / 1e9:.1f} GB" if node.memory_bytes else ""
    return f"{node.name} ({node.cpu_count:g} CPUs{memory})" if node.cpu_count else node.name


def _whole_engine(experiment: ExperimentRecord) -> str:
    engine = experiment.engine
    if not engine:
        return "none"
    version_, endpoint, kernel = (told or "unknown" for told in (engine.version, engine.endpoint, engine.kernel))
    return f"version {version_} at {endpoint}, kernel {kernel}"


def models_that_answered(results: Results) -> list[str]:
    """The models that answered, by name; more than one is a reason not to compare."""
    models = [run.record.model for run in results.runs]
    return list(
        dict.fromkeys(
            f"{model.name} (a small model that comes with Fourfold, not DistilBERT)"
            if model.source == "bundled"
            else str(model.name)
            for model in models
            if model.name
        )
    )


def _no_model(results: Results) -> str:
    """Why no model is known: a service need not tell it."""
    return "the service does not tell" if any(len(run.answered) for run in results.runs) else "no model answered"


def _load(analysis: Analysis) -> str:
    plan = analysis.results.experiment.plan
    kind = user_class(analysis.results)
    known = HOW_AN_OPEN_LOAD_CONNECTS if is_open(plan) else HOW_USERS_CONNECT
    connections = known.get(kind, f"The class of the users is {kind}.") + _replacing(plan)
    if words.is_in_blocks(analysis.loads):
        return f"{rounds(analysis)}. {_load_in_blocks(analysis)} {connections}"
    if is_open(plan):
        length = f"until there were {plan.requests:,} requests" if plan.requests else f"for {plan.seconds:g} s"
        said = f"each deployment got {load_in_words(analysis.results)}, {length},"
    else:
        length = f"sent {plan.requests:,} requests" if plan.requests else f"sent requests for {plan.seconds} s"
        said = f"{load_in_words(analysis.results)} {length} to each deployment,"
    warm_up = f"after {plan.warm_up_s} s of warm-up, which is not counted"
    return f"{rounds(analysis)}. In each round {said} {warm_up}. {connections}"


def _replacing(plan: PlanRecord) -> str:
    """When kept connections are replaced; empty if they never are."""
    if plan.reconnect_every is None:
        return ""
    whose = "Each of them is replaced by a new one" if is_open(plan) else "Each user opens a new connection"
    return f" {whose} after {read_reconnect_every(plan.reconnect_every).in_words}."


def _load_in_blocks(analysis: Analysis) -> str:
    plan = analysis.results.experiment.plan
    blocks = next(blocks for load in analysis.loads for blocks in blocks_of_load(load))
    is_alone = was_alone(analysis.results.experiment)
    at_once = "the deployment ran alone" if is_alone else "the deployments ran at once"
    if len(analysis.results.experiment.groups) > 1:
        at_once = f"the deployments of a group ran at once ({len(analysis.results.experiment.groups)} groups)"
    each, whom = ("it", "it") if is_alone else ("each", "one of them at a time")
    length = f"until {each} had {plan.requests:,} requests" if plan.requests else f"{blocks.planned:,} to {each}"
    sent = f"{load_in_words(analysis.results)} sent requests to {whom}"
    if is_open(plan):
        sent = f"requests were sent to {whom}: {load_in_words(analysis.results)}"
    if analysis.searches:
        return (
            f"In each round {at_once}, and requests were sent to {whom}, step by step, {OPEN}. "
            f"{load_in_words(analysis.results)}. Before that {each} got {plan.warm_up_s:g} s of warm-up, which is not "
            "counted."
        )
    if analysis.staircases:
        length = f"one at each rate, {OPEN}, until a deployment was overloaded"
    return (
        f"In each round {at_once}, and {sent}, in blocks of {blocks.block_s:g} s: {length}, after "
        f"{plan.warm_up_s:g} s of warm-up{'' if is_alone else ' each'}, which are not counted."
    )


def _times(experiment: ExperimentRecord) -> str:
    ended = words.time_of_day(experiment.ended_at) if experiment.ended_at else "cut off"
    resumed = f"; resumed {', '.join(experiment.resumed_at)}" if experiment.resumed_at else ""
    return f"{words.time_of_day(experiment.started_at)}, {ended}{resumed}"


def _order(order: Iterable[Iterable[str]]) -> str:
    return "; ".join(f"round {number}: {', '.join(names)}" for number, names in enumerate(order, 1))


def images(results: Results) -> list[Fact]:
    """The image of the first deployment that had one."""
    for deployment in results.deployments:
        image = deployment.image
        if image and deployment.status == STATUS_MEASURED:
            size = f", {image.bytes / 1e6:.0f} MB" if image.bytes else ""
            name, id_ = image.name or "unknown name", image.id or "unknown ID"
            return [Fact("Image", f"{name}, {id_}{size}")]
    return []


def _limits(plan: PlanRecord) -> str:
    memory = plan.memory_mb
    return f"{plan.cpus or 'no'} CPU limit{_changed_limits(plan)}, " + (
        f"{memory} MB of memory per container" if memory else "no memory limit"
    )


def _changed_limits(plan: PlanRecord) -> str:
    """From when on containers had another CPU limit than at the start of a load; empty if they never had."""
    changed = [change for change in plan.changes if change.action == CPU]
    said = ", ".join(f"{cores(change)} from {change.at_s:g} s of the load on" for change in changed)
    return f" at the start ({said})" if said else ""


def _processors(plan: PlanRecord) -> list[str]:
    """Which processors the load generator and the service had, and how many processes the load generator; nothing where
    the plan left that open."""
    parts = []
    if plan.generator_cpus or plan.service_cpus:
        own = (plan.generator_cpus or "all", plan.service_cpus or "all")
        parts.append("load generator: {}, service: {}".format(*own))
    if plan.processes is not None and plan.processes > 1:
        parts.append(f"the load generator had {plan.processes} processes beside its master")
    return ["; ".join(parts)] if parts else []


def commit(git: GitState | None) -> str:
    if not git:
        return "not a git checkout"
    return (git.commit or "unknown") + (" with changes" if git.dirty else "")


def _texts(results: Results) -> list[str]:
    """The texts that were replayed: file, how many, and the digest that says whether two runs had the same."""
    found = [run.record.texts for run in results.runs]
    lines = (f"{texts.file}, {texts.count} texts, sha256 {texts.sha256[:12]}" for texts in found)
    return list(dict.fromkeys(lines))


def _versions(analysis: Analysis) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for load in analysis.loads:
        for run in load.deployment.loads.values():
            found |= run.record.versions or {}
    found |= {name: version(name) for name in OWN_PACKAGES}
    return found | dict(analysis.results.experiment.versions or {})


def _named(versions: Mapping[str, Any]) -> list[str]:
    return [f"{name} {versions[name]}" for name in sorted(versions, key=str.lower)]


def _first_run(load: Measurement) -> str:
    """The inference engine, its versions, and how the replicas were sampled, in the first load of a deployment."""
    run = next(iter(load.deployment.loads.values()))
    replicas = run.record.replicas
    versions = run.record.service_versions
    parts = [*_inference_engine(run.record.inference_engine), *_named(versions or _python(load))]
    sampling = f"{replicas.sampling or 'not sampled'}, every {replicas.interval_s} s"
    parts.append(f"sampled: {replicas.found or 'nothing'} ({sampling})")
    return "; ".join([", ".join(parts), *(f"{group}: {how}" for group, how in _sources(run).items())])


def _python(load: Measurement) -> dict[str, str]:
    """The version of Python of a service that does not tell it, as far as it is known."""
    deployment = load.deployment
    if deployment.python is not None:
        own = " (Fourfold's own)" if deployment.python.is_fourfolds else ""
        return {"Python": f"{deployment.python.version}{own}"}
    of_image = deployment.image.python if deployment.image else None
    return {"Python": f"{of_image} (the image's)"} if of_image else {}


def _inference_engine(engine: InferenceEngine) -> list[str]:
    if not engine.is_told:
        return []
    weights, device = engine.weights or "unknown weights", engine.device or "unknown device"
    slower = f"; the faster engine was not used: {engine.why_not_faster}" if engine.why_not_faster else ""
    threads = f"{engine.threads or '?'} thread{'s' if engine.threads != 1 else ''}"
    return [f"inference engine {engine.name or 'unknown'} ({weights}, {device}, {threads}{slower})"]


def _sources(run: Run) -> dict[str, str]:
    """How each group of the replicas' columns (CPU, memory, network, ...) was read; empty where no record says it."""
    found: dict[str, dict[str, None]] = {}
    for replica in run.record.replicas.list:
        for group, how in (replica.sources or {}).items():
            found.setdefault(str(group), {})[str(how)] = None
    return {group: " and ".join(found[group]) for group in sorted(found, key=str.lower)}
