"""``python -m infra``: run the experiment, or start and remove single deployments."""

from __future__ import annotations

import signal

from infra import environment

if __name__ == "__main__":
    if takes_ctrl_c := signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports without a traceback
    environment.settle()  # before anything is imported that PYTHONPATH or PYTHONWARNINGS could change

import argparse
import io
import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import addresses
from infra.alone import alone_in_checkout, alone_on_engine, alone_on_machine, why_not_alone
from infra.arguments import seconds_up_to
from infra.change_now import ACTIONS_NOW, change_now, names_for
from infra.cluster.load_command import add_load_options, load_on_swarm
from infra.cluster.load_stack import remove_left_load
from infra.cluster.load_tasks import IMAGE as LOAD_IMAGE
from infra.deployments import docker_context
from infra.deployments.compose_proxy import why_no_proxy_image
from infra.deployments.docker_engine import API_FAILURES, FAILURES, connect
from infra.deployments.images import find_image
from infra.deployments.own_python import prepare_python
from infra.deployments.preflight import why_no_image, why_no_service_image
from infra.deployments.settings import Settings
from infra.deployments.table import (
    BY_NAME,
    NAME_OF_KIND,
    PORTS,
    remove,
    remove_left_volumes,
    start,
    why_another_has_it,
    why_not,
)
from infra.errors import DeploymentError, PlanError, RecordError, ResumeError, why
from infra.experiment.plan import KEYS, read_plan
from infra.install import not_installed
from infra.interruption import sigterm_as_ctrl_c
from infra.paths import INFRA, IS_IN_CONTAINER, IS_INSTALLED, RESULTS, ROOT, STATE, WORK
from runfiles.deployments import NAMES, USUAL, hint_for, title_of
from runfiles.events import REPLICA_KINDS
from runfiles.grid import GRID_FILE
from runfiles.records import LONGEST_START_S
from servicefile.service_file import SERVICE, read_service
from servicefile.texts import requests_of
from servicefile.toml import NotValid


def main() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a name may hold what the terminal can't show
    arguments = _parser().parse_args()
    try:
        settings = Settings(
            service=read_service(arguments.service),
            other_image=arguments.image,
            ports=PORTS | dict(arguments.port),
            reach=dict(arguments.reach),
            host_folder=arguments.host_folder,
            other_start_timeout_s=arguments.start_timeout,
        )
        requests_of(settings.service.request)  # refused now if the texts can't be read
        with sigterm_as_ctrl_c():  # also while the engine is locked, and while the page is made
            return _carry_out(arguments, settings)
    except (*FAILURES, RecordError, PlanError, ResumeError, NotValid) as error:
        folder = (arguments.resume or arguments.results) if arguments.command == "run" else WORK
        print(f"error: {why(error, folder)}", file=sys.stderr)
        return 2 if isinstance(error, PlanError | NotValid) else 1
    except KeyboardInterrupt:
        return 130


def _carry_out(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.command == "run":
        return _run(arguments, settings)
    if arguments.command == "up":
        with alone_on_machine(), alone_on_engine([arguments.name]):
            return _up(arguments.name, replace(settings, restarts=arguments.restart))
    if arguments.command == "change":
        with alone_on_machine(), alone_on_engine(names_for(arguments.name)):
            return _change(arguments, settings)
    if arguments.command == "down":
        with alone_in_checkout():
            return _down_all(settings) if arguments.all else _down(arguments.name, settings)
    if arguments.command == "check":
        names = [name for name in BY_NAME if name in (arguments.only or USUAL)]
        with alone_on_machine(), alone_on_engine(names):
            return _check(names, settings)
    return _load(arguments, settings) if arguments.command == "load" else _doctor(settings)


def _load(arguments: argparse.Namespace, settings: Settings) -> int:
    with alone_on_machine(), alone_on_engine(["swarm-1"]):
        return load_on_swarm(arguments, settings)


def _check(names: list[str], settings: Settings) -> int:
    # Imported here, as in _run.
    from infra.first_look import check  # noqa: PLC0415

    return check(names, settings)


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    # Imported here: make doctor runs before all that an experiment needs is installed.
    from infra.cluster.plan import on_cluster, refuse_keys_of_clusters  # noqa: PLC0415
    from infra.experiment.experiment import resume, run_new  # noqa: PLC0415
    from infra.experiment.grid_run import resume_grid, run_new_grid  # noqa: PLC0415

    if arguments.resume is None:
        plan = read_plan(_found(arguments.plan), arguments.set, arguments.only)
        if arguments.cluster:
            plan = on_cluster(plan)
        elif arguments.load_image is not None:
            raise PlanError("--load-image has no effect without --cluster; add --cluster, or leave it out")
        else:
            refuse_keys_of_clusters(plan)
        if plan.grid is not None:
            return run_new_grid(plan, plan.grid, settings, arguments.results)
        return run_new(
            plan, settings, arguments.results, (arguments.load_image or LOAD_IMAGE) if arguments.cluster else None
        )
    given = (
        arguments.plan,
        arguments.set,
        arguments.only is not None,
        arguments.cluster,
        arguments.load_image is not None,
        settings != Settings(ports=PORTS),
        arguments.results != RESULTS,
    )
    if any(given):
        raise PlanError("--resume takes plan, image, ports and all else from the experiment's folder; give it alone")
    return (resume_grid if (arguments.resume / GRID_FILE).exists() else resume)(arguments.resume)


def _found(plan: Path | None) -> Path | None:
    """A plan that is not in the user's folder may be one that comes with Fourfold, such as plans/kill_one.toml."""
    return ROOT / plan if plan is not None and not plan.exists() and (ROOT / plan).is_file() else plan


def _up(name: str, settings: Settings) -> int:
    facts = BY_NAME[name].facts
    if settings.restarts and not facts.needs_engine:
        raise DeploymentError(f"{facts.title}: nobody restarts it when it has died; leave --restart out")
    reason = why_not(name, settings)
    if reason is not None:
        raise DeploymentError(f"{facts.title} can't run here: {reason}")
    if facts.needs_engine:
        find_image(connect(), str(settings.image), is_built=settings.built_from is not None)
    elif settings.host_folder is None:
        prepare_python(settings.service, print)
    folder = STATE / name
    try:
        running = start(name, settings, folder)
    except BaseException:
        try:
            remove(name, settings)
        except FAILURES as error:
            print(f"error: {name} could not be removed: {error}", file=sys.stderr)
        raise
    print(f"{running.url} answers after {running.seconds_to_healthy:.1f} s")
    if running.service.metrics_place is not None:
        print(f"its metrics file: {running.service.metrics_place}")
    print(f"sample it with --replicas {running.service.replicas}; end it with {INFRA} down {name}")
    return 0


def _change(arguments: argparse.Namespace, settings: Settings) -> int:
    made = change_now(arguments.name, arguments.action, arguments.replica, arguments.replicas, settings)
    said = f"{arguments.action}{made.replica and f' of {made.replica}'}: {made.detail}"
    print(json.dumps(asdict(made)) if arguments.json else said)
    return 0


def _down(name: str, settings: Settings) -> int:
    """Remove one deployment. If another checkout has it, that is an error: it still runs."""
    removed = remove(name, settings)
    reason = why_another_has_it(name)
    if reason and not removed:
        raise DeploymentError(reason)
    print("removed: " + ", ".join(removed) if removed else "nothing of Fourfold's was there")
    if reason:
        print(f"left: {reason}")
    return 0


def _down_all(settings: Settings) -> int:
    """Remove all that this checkout made. Name what other checkouts have, and leave it; that is no error."""
    removed = []
    try:  # before the swarm, which would otherwise hold what is not a deployment's
        removed += remove_left_load()
    except (DeploymentError, *API_FAILURES) as error:
        print(f"load: {error}")
    for name in NAME_OF_KIND.values():
        try:
            removed += remove(name, settings)
            if reason := why_another_has_it(name):
                print(f"left: {reason}")
        except (DeploymentError, *API_FAILURES) as error:
            print(f"{name}: {error}")
    try:
        removed += remove_left_volumes()
    except (DeploymentError, *API_FAILURES) as error:
        print(f"volumes: {error}")
    print("removed: " + ", ".join(removed) if removed else "nothing of this checkout's was there")
    return 0


def _doctor(settings: Settings) -> int:
    """Say what can run here, and why the rest can't. The exit code is 0 in both cases."""
    width = max(map(len, USUAL))

    def tell(about: str, what: str) -> None:
        print(f"{about:<{width}} {what}")

    engine = None
    try:
        engine = connect()
        tell("engine", f"{engine.version} at {engine.endpoint}, kernel {engine.kernel}")
        if settings.host_folder is None and (reason := engine.why_no_verdict()):
            tell("verdicts", reason)
        reason = why_no_service_image(settings) or why_no_image(engine, str(settings.image), settings.built_from)
        tell("image", reason or f"{settings.image} is here, or can be had")
        proxy = settings.service.proxy_image
        tell("proxy", why_no_proxy_image(engine, settings.service) or f"{proxy} is here, or can be had (compose-N)")
    except (DeploymentError, *API_FAILURES) as error:
        tell("engine", str(error))
    missing = not_installed(ROOT / "requirements.txt")
    if missing and not IS_IN_CONTAINER:  # where no host process runs
        if IS_INSTALLED:  # only what the extra brings can be missing
            what = f"the small bundled one answers as a host process, without {', '.join(missing)}"
            tell("model", f"{what}; for DistilBERT: pip install 'fourfold[torch]'")
        else:
            tell("setup", f"make bench first installs into .venv: {', '.join(missing)} (some minutes)")
    for doubt in docker_context.doubts():
        tell("config", doubt)
    if reason := why_not_alone(engine):
        tell("run", reason)
    for name in USUAL:
        reason = why_not(name, settings)
        tell(name, f"{title_of(name)}: " + ("can run" if reason is None else f"can't run: {reason}"))
    return 0


def _parser() -> argparse.ArgumentParser:
    common = _common_options()
    parser = argparse.ArgumentParser(
        prog="fourfold" if IS_INSTALLED else "python -m infra",
        description="Run the experiment, or start and remove single deployments.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run_options(commands.add_parser("run", parents=[common], help="measure the deployments, and make the page"))
    up = commands.add_parser("up", parents=[common], help="start one deployment and leave it running")
    up.add_argument("name", type=_deployment, metavar="NAME", help=NAMES)
    up.add_argument("--restart", action="store_true", help="let the engine restart a container whose service has died")
    _add_change_options(
        commands.add_parser("change", parents=[common], help="kill, stop, pause or scale what up has started")
    )
    down = commands.add_parser("down", parents=[common], help="remove a deployment that was started here")
    which = down.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", type=_deployment, metavar="NAME", help=NAMES)
    which.add_argument("--all", action="store_true", help="all of Fourfold's, also what a killed run left")
    look = commands.add_parser(
        "check", parents=[common], help="start each deployment once, send three texts, and say what came back"
    )
    look.add_argument("--only", type=_deployments, metavar="NAME,...", help=f"only these of {NAMES}")
    add_load_options(
        commands.add_parser("load", help="load a service from the nodes of a swarm, and bring the files here")
    )
    commands.add_parser("doctor", parents=[common], help="say what can run here, and why the rest can't")
    return parser


def _common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--service",
        type=Path,
        default=SERVICE,
        metavar="FILE.toml",
        help="the service file, which says what is measured (inference/service.toml; docs/own-service.md)",
    )
    common.add_argument(
        "--image", help="the image to run, in place of that of the service file, which run builds first"
    )
    common.add_argument(
        "--port",
        action="append",
        default=[],
        type=_port,
        metavar="KIND=PORT",
        help=f"use another port; KIND is one of {', '.join(PORTS)} (repeatable)",
    )
    common.add_argument(
        "--reach",
        action="append",
        default=[],
        type=_reach,
        metavar="KIND=HOST:PORT",
        help="where a published port answers if the Docker engine is on another machine; IPv6: KIND=[ADDRESS]:PORT "
        "(repeatable)",
    )
    common.add_argument(
        "--host-folder",
        metavar="FOLDER",
        help="the folder of the service on the engine's machine, if that is at ssh://: the host process then runs "
        "there (docs/deployments.md)",
    )
    common.add_argument(
        "--start-timeout",
        type=seconds_up_to(LONGEST_START_S),
        metavar="S",
        help="wait so many seconds until the service is ready (ready_s of the service file: 180)",
    )
    return common


def _add_change_options(change: argparse.ArgumentParser) -> None:
    change.add_argument(
        "name",
        type=_deployment_or_target,
        metavar="NAME",
        help=f"{NAMES}; or what --replicas of a load takes: "
        "container:NAME, compose:PROJECT/SERVICE, swarm:SERVICE or process:PID",
    )
    change.add_argument("action", choices=ACTIONS_NOW)
    change.add_argument(
        "--replica", metavar="N", help="not for scale: which of those that run, by its number, from 1, or its name (1)"
    )
    change.add_argument(
        "--replicas", type=_replicas, metavar="N", help="for scale: how many there shall be; +1 or -1: one more or less"
    )
    change.add_argument("--json", action="store_true", help="print what was done as JSON")


def _add_run_options(run: argparse.ArgumentParser) -> None:
    run.add_argument("plan", nargs="?", type=Path, metavar="PLAN.toml", help="what to measure (plans/default.toml)")
    run.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="use other values than the plan, such as users=16 seconds=60 user_class=new_connection; "
        f"plans/default.toml explains the keys: {', '.join(KEYS)}",
    )
    run.add_argument(
        "--cluster",
        action="store_true",
        help="send the load from nodes of a swarm of several machines, which you have made (docs/cluster.md)",
    )
    run.add_argument(
        "--load-image",
        metavar="NAME",
        help=f"with --cluster: the image of Locust on the nodes ({LOAD_IMAGE})",
    )
    run.add_argument("--only", metavar="NAME,...", help=f"the same as --set deployments=; names: {NAMES}")
    run.add_argument(
        "--resume", type=Path, metavar="FOLDER", help="measure what is left of an experiment that ended early"
    )
    run.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (results/)")


def _deployment(text: str) -> str:
    if text not in BY_NAME:
        expected = hint_for(text) or f"choose from {NAMES}"
        raise argparse.ArgumentTypeError(f"there is no deployment {text!r}; {expected}")
    return text


def _deployment_or_target(text: str) -> str:
    kind, is_target, _ = text.partition(":")
    if not is_target:
        return _deployment(text)
    if kind not in REPLICA_KINDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND:NAME, KIND being one of {', '.join(REPLICA_KINDS)}")
    return text


def _replicas(text: str) -> str:
    if re.fullmatch(r"[+-]1|[1-9][0-9]{0,3}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of replicas, +1 or -1")
    return text


def _deployments(text: str) -> list[str]:
    return [_deployment(name) for name in text.split(",")]


def _port(text: str) -> tuple[str, int]:
    kind, _, port = text.partition("=")
    try:
        if kind in PORTS:
            return kind, addresses.port_number(port)
        problem = f"there is no {kind!r}"
    except addresses.NotAnAddress as error:
        problem = str(error)
    raise argparse.ArgumentTypeError(f"{text!r} is not KIND=PORT, KIND being one of {', '.join(PORTS)}: {problem}")


def _reach(text: str) -> tuple[str, str]:
    kind, _, given = text.partition("=")
    try:
        address = addresses.parse(given)
        if kind in PORTS and address.written_port is not None:
            return kind, address.url
        problem = "the port is missing" if kind in PORTS else f"there is no {kind!r}"
    except addresses.NotAnAddress as error:
        problem = str(error)
    raise argparse.ArgumentTypeError(f"{text!r} is not KIND=HOST:PORT, KIND being one of {', '.join(PORTS)}: {problem}")


if __name__ == "__main__":
    if takes_ctrl_c:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
