"""``python -m infra``: run the experiment, or start and remove single deployments."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import runfiles
from infra.deployments import remove, start, why_not
from infra.engine import API_FAILURES, connect
from infra.errors import DeploymentError
from infra.experiment import Experiment, Plan
from infra.images import find_image
from infra.preflight import why_no_image
from infra.settings import IMAGE, PORTS, ROOT, START_TIMEOUT_S, Settings, kind_of


def main() -> int:
    arguments = _parser().parse_args()
    settings = Settings(
        image=arguments.image or IMAGE,
        ports=PORTS | dict(arguments.port),
        reach=dict(arguments.reach),
        start_timeout_s=arguments.start_timeout,
    )
    try:
        if arguments.command == "run":
            plan = Plan(arguments.users, arguments.seconds, arguments.warm_up, arguments.user_class)
            names = arguments.only or tuple(runfiles.DEPLOYMENTS)
            return Experiment(plan, settings, names, arguments.results, build=arguments.image is None).run()
        if arguments.command == "up":
            return _up(arguments.name, settings)
        if arguments.command == "down":
            return _down(arguments.name, settings)
        return _doctor(settings)
    except (DeploymentError, *API_FAILURES) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _up(name: str, settings: Settings) -> int:
    reason = why_not(name, settings)
    if reason is not None:
        raise DeploymentError(f"{runfiles.DEPLOYMENTS[name]} can't run here: {reason}")
    if kind_of(name) != "host":
        find_image(connect(), settings.image)
    folder = ROOT / ".fourfold" / name
    try:
        running = start(name, settings, folder)
    except BaseException:
        remove(name, settings)
        raise
    print(f"{running.url} answers after {running.seconds_to_healthy:.1f} s")
    print(f"sample it with --replicas {running.replicas}; end it with python -m infra down {name}")
    return 0


def _down(name: str | None, settings: Settings) -> int:
    removed = []
    for one in [name] if name else ["host", "docker", "compose", "swarm-1"]:
        try:
            removed += remove(one, settings)
        except (DeploymentError, *API_FAILURES) as error:
            if name:
                raise
            print(f"{one}: {error}")
    print("removed: " + ", ".join(removed) if removed else "nothing of Fourfold's was there")
    return 0


def _doctor(settings: Settings) -> int:
    """Say what can run here, and why the rest can't. That something can't is an answer, not an error."""
    try:
        engine = connect()
        print(f"engine   {engine.version} at {engine.endpoint}, kernel {engine.kernel}")
        print(f"image    {why_no_image(engine, settings.image) or f'{settings.image} is here, or can be had'}")
    except (DeploymentError, *API_FAILURES) as error:
        print(f"engine   {error}")
    for name, title in runfiles.DEPLOYMENTS.items():
        reason = why_not(name, settings)
        print(f"{name:<8} {title}: " + ("can run" if reason is None else f"can't run: {reason}"))
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--image", help=f"an image that is there already; without it, {IMAGE} is built")
    common.add_argument(
        "--port",
        action="append",
        default=[],
        type=_port,
        metavar="KIND=PORT",
        help=f"publish at another port; KIND is one of {', '.join(PORTS)} (repeatable)",
    )
    common.add_argument(
        "--reach",
        action="append",
        default=[],
        type=_reach,
        metavar="KIND=HOST:PORT",
        help="where a published port answers, for an engine elsewhere (repeatable)",
    )
    common.add_argument(
        "--start-timeout", type=float, default=START_TIMEOUT_S, metavar="S", help="wait this long for a healthy service"
    )
    parser = argparse.ArgumentParser(prog="python -m infra", description=(__doc__ or "").split(": ", 1)[1])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", parents=[common], help="measure the deployments one after the other")
    run.add_argument("--only", type=_names, metavar="NAME,...", help=f"of {', '.join(runfiles.DEPLOYMENTS)}")
    run.add_argument("--users", type=_positive, default=8, help="concurrent users of the load (8)")
    run.add_argument("--seconds", type=_positive, default=20, help="measured seconds of the load (20)")
    run.add_argument("--warm-up", type=int, default=5, help="seconds of load before that, not counted (5)")
    run.add_argument("--user-class", choices=("keep_alive", "new_connection"), default="keep_alive")
    run.add_argument("--results", type=Path, default=ROOT / "results", help="folder of the results (results/)")
    up = commands.add_parser("up", parents=[common], help="start one deployment and leave it running")
    up.add_argument("name", choices=runfiles.DEPLOYMENTS)
    down = commands.add_parser("down", parents=[common], help="remove a deployment that was started here")
    which = down.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", choices=runfiles.DEPLOYMENTS)
    which.add_argument("--all", action="store_true", help="all of Fourfold's, also what a killed run left")
    commands.add_parser("doctor", parents=[common], help="say what can run here, and why the rest can't")
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in runfiles.DEPLOYMENTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(runfiles.DEPLOYMENTS)}")
    return tuple(name for name in runfiles.DEPLOYMENTS if name in names)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _port(text: str) -> tuple[str, int]:
    kind, _, port = text.partition("=")
    if kind not in PORTS or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND=PORT, KIND being one of {', '.join(PORTS)}")
    return kind, int(port)


def _reach(text: str) -> tuple[str, str]:
    kind, _, address = text.partition("=")
    if kind not in PORTS or not address.rpartition(":")[2].isdecimal() or not address.rpartition(":")[0]:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND=HOST:PORT, KIND being one of {', '.join(PORTS)}")
    return kind, address


if __name__ == "__main__":
    sys.exit(main())
