"""``python -m infra load --on-swarm``: load a service from the nodes of a swarm, and bring the files here."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import addresses
from infra.arguments import seconds_up_to
from infra.cluster import monitor_stack
from infra.cluster.load_stack import NODES, LoadPlace, run_on_swarm, why_not
from infra.cluster.load_tasks import IMAGE
from infra.cluster.web_ui import PORT
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.settings import Settings
from infra.errors import DeploymentError, PlanError
from infra.experiment.load import Load
from infra.experiment.plan import Plan, read_plan
from infra.last_words import last_error, tail
from infra.paths import RESULTS, ROOT
from runfiles.events import RECORDING_FAILED_EXIT_CODE, ROWS_LOST, SWARM_SERVICE
from runfiles.files import LOAD, REQUESTS_SUFFIX, RUN_RECORD_SUFFIX
from runfiles.lines import printable, visible
from runfiles.records import RunRecord
from servicefile.service_file import SERVICE

KEYS = ("users", "user_class", "reconnect_every", "rate", "arrivals", "seconds", "warm_up_s", "requests", "seed")
"""The keys of a plan that say what one load is."""

MOST_WORKERS = 1000
LEAST_INTERVAL_S, MOST_INTERVAL_S = 0.05, 3600
"""Between two samples of a replica; Locust's own --replica-interval takes nothing shorter."""


def add_load_options(load: argparse.ArgumentParser) -> None:
    load.add_argument("--on-swarm", action="store_true", required=True, help="as a stack of the engine's swarm")
    load.add_argument("--host", required=True, type=_url, help="where the service answers, as the nodes reach it")
    load.add_argument("--workers", type=_workers, default=2, metavar="N", help="how many Locust workers send it (2)")
    load.add_argument("--nodes", default=NODES, metavar="CONSTRAINT", help=f"on which nodes workers may run ({NODES})")
    load.add_argument(
        "--network", metavar="NAME", help="an overlay network of the service, if --host is a name in that network"
    )
    load.add_argument(
        "--replicas",
        type=_swarm_service,
        metavar="swarm:SERVICE",
        help="sample the replicas of this Swarm service, by an agent on each node (without it: none are sampled)",
    )
    load.add_argument(
        "--replica-interval",
        type=seconds_up_to(MOST_INTERVAL_S, LEAST_INTERVAL_S),
        metavar="S",
        help="seconds between two samples of a replica (0.25)",
    )
    load.add_argument("--load-image", default=IMAGE, metavar="NAME", help=f"the image of master and workers ({IMAGE})")
    load.add_argument(
        "--locustfile", metavar="NAME", help="one of locustfiles/, without .py, in place of that of user_class or rate"
    )
    load.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help=f"the load, as in a plan, such as users=16 seconds=60; keys: {', '.join(KEYS)}",
    )
    load.add_argument(
        "--web",
        nargs="?",
        const=PORT,
        type=_port,
        metavar="PORT",
        help=f"Locust's web UI, at this port of 127.0.0.1 ({PORT}): start loads there, and end with Ctrl-C",
    )
    load.add_argument(
        "--service",
        type=Path,
        default=SERVICE,
        metavar="FILE.toml",
        help="the service file, which says what is asked (inference/service.toml; docs/own-service.md)",
    )
    load.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (results/)")
    load.set_defaults(image=None, port=[], reach=[], host_folder=None, start_timeout=None)


def load_on_swarm(arguments: argparse.Namespace, settings: Settings) -> int:
    """Carry out the command. Call this inside ``alone_on_machine`` and ``alone_on_engine``. Returns the exit code: 0 if
    the load was recorded whole and no request failed, 4 if rows were lost, else that of Locust.

    Raises:
        PlanError: the options make no load.
        DeploymentError: the load can't be sent, or was not recorded.
    """
    plan = _plan_of(arguments.set, arguments.workers)
    _refuse_unknown(arguments.locustfile)
    place = LoadPlace(arguments.workers, arguments.nodes, arguments.network, arguments.load_image, arguments.replicas)
    engine = connect()
    if reason := why_not(engine, place):
        raise DeploymentError(reason)
    folder = _make_folder(arguments.results)
    print(f"the files will be in {folder}")
    load = Load(arguments.locustfile or plan.locustfile, folder / LOAD, _arguments_of(plan, arguments))
    try:
        with _agents(engine, place):
            code = run_on_swarm(engine, place, load, settings.service, _show, arguments.web)
    except KeyboardInterrupt:
        if arguments.web is None:
            raise
        print(f"the files of all loads are in {folder}")
        return 0
    return _tell(folder, code)


@contextmanager
def _agents(engine: Engine, place: LoadPlace) -> Iterator[None]:
    """If replicas are sampled, each node has an agent as long as the block lasts.

    Raises:
        DeploymentError: a node gets none, or they can't be removed.
    """
    if place.sampled is None:
        yield
        return
    with monitor_stack.agents(engine, place.image) as nodes:
        print(f"agents run on {', '.join(nodes)}")
        yield


def _refuse_unknown(locustfile: str | None) -> None:
    """
    Raises:
        PlanError: there is no such locustfile.
    """
    known = sorted(path.stem for path in (ROOT / "locustfiles").glob("[!_]*.py"))
    if locustfile is not None and locustfile not in known:
        raise PlanError(f"--locustfile {locustfile}: there is none of this name; choose from {', '.join(known)}")


def _plan_of(said: Sequence[str], workers: int) -> Plan:
    for each in said:
        key = each.partition("=")[0]
        if key not in KEYS:
            raise PlanError(f"--set {each}: {key} is no key of one load; the keys are {', '.join(KEYS)}")
    plan = read_plan(None, said)
    if not plan.all_rates and workers > plan.users:
        raise PlanError(
            f"--workers {workers} is more than users = {plan.users}: a worker would have no user; add --set users=N"
        )
    return plan


def _arguments_of(plan: Plan, arguments: argparse.Namespace) -> list[str]:
    said = ["--host", arguments.host, *plan.arguments_for(arguments.workers)]
    said += ["--warm-up", str(plan.warm_up_s)]
    if arguments.web is None:  # there people end a load themselves
        said += ["--run-time", str(plan.warm_up_s + plan.seconds)]
    if arguments.replica_interval is not None:
        said += ["--replica-interval", f"{arguments.replica_interval:g}"]
    return said + (["--requests", str(plan.requests)] if plan.requests is not None else [])


def _show(line: str) -> None:
    """Keep the columns of Locust's tables."""
    print(visible(line.rstrip()), flush=True)


def _tell(folder: Path, code: int) -> int:
    """
    Raises:
        DeploymentError: the load was not recorded.
    """
    prefix, log = folder / LOAD, folder / f"{LOAD}.log"
    try:
        record = RunRecord.read(Path(f"{prefix}{RUN_RECORD_SUFFIX}"))
    except (OSError, ValueError) as error:
        raise DeploymentError(
            f"Locust's master ended with exit code {code} and left no record: {last_error(tail(log))}; all it said is "
            f"in {log}"
        ) from error
    if record.ended_at_unix_s is None:
        raise DeploymentError(
            f"Locust's master ended with exit code {code} before the load did (137: it was killed, or had too little "
            f"memory); what it had written by then is in {folder}, such as {LOAD}{REQUESTS_SUFFIX}"
        )
    for fault in record.faults:
        print(f"{fault.kind}: {printable(fault.text)}")
    print(f"{record.requests} requests, {record.failures} of them failed; the files are in {folder}")
    has_lost_rows = any(fault.kind == ROWS_LOST for fault in record.faults)
    return RECORDING_FAILED_EXIT_CODE if has_lost_rows else code


def _make_folder(results: Path) -> Path:
    """A folder named by the time; where another load began in the same second, with a number behind it."""
    began = datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S-load")
    for name in itertools.chain([began], (f"{began}-{number}" for number in itertools.count(2))):
        folder = results.resolve() / name
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise DeploymentError(f"{folder} can't be made ({error.strerror}); name another with --results") from error
        break
    return folder


def _workers(text: str) -> int:
    if text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MOST_WORKERS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers from 1 to {MOST_WORKERS}")


def _port(text: str) -> int:
    try:
        return addresses.port_number(text)
    except addresses.NotAnAddress as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _swarm_service(text: str) -> str:
    kind, _, name = text.partition(":")
    if kind == SWARM_SERVICE and name:
        return name
    raise argparse.ArgumentTypeError(f"{text!r} is not {SWARM_SERVICE}:SERVICE, such as {SWARM_SERVICE}:web")


def _url(text: str) -> str:
    try:
        address = addresses.parse(text)
    except addresses.NotAnAddress as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if address.host == "localhost" or address.host.startswith("127.") or address.host == "::1":
        raise argparse.ArgumentTypeError(
            f"{text!r} is each worker's own container; name the service as the nodes reach it, such as http://NODE:8080"
        )
    return address.url
