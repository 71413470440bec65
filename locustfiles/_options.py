"""Fourfold's options and their checks: on the command line, in the environment and in the web UI's form."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _agent_options import AGENT_ARGUMENTS, against_agents
from _blocks import read_blocks
from _replicas import host_argument, replicas_argument
from flask import Response, jsonify, request

from runfiles.events import ARRIVALS, AUTO, CONNECTIONS, CONSTANT, KEPT, NEW
from runfiles.files import RUN_RECORD_SUFFIX, RUN_SUFFIXES
from runfiles.places import INFRA
from runfiles.rates import LEAST_RATE_PER_S, MOST_RATE_PER_S
from runfiles.reconnect import read_reconnect_every
from runfiles.spikes import read_spike, why_overlap
from servicefile.service_file import SERVICE
from servicefile.toml import NotValid

from _monitor import LEAST_INTERVAL_S
from _texts import asked_service

if TYPE_CHECKING:  # importing Locust patches sockets, which checking an option does not need
    from locust.env import Environment

NOT_IN_BLOCKS = "a single pass is not sent in blocks; leave --blocks out"

LOCUSTS_SUFFIXES = ("_counters.csv", "_stats_history.csv", "_failures.csv", "_exceptions.csv")


def seconds(text: str) -> float:
    """``--warm-up``: a finite number of seconds, 0 or more."""
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return number


def interval(text: str) -> float:
    """``--replica-interval``: seconds between two samples."""
    number = _number(text)
    if not LEAST_INTERVAL_S <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, {LEAST_INTERVAL_S:g} or more")
    return number


def count(text: str) -> int:
    """``--requests``: a whole number above 0."""
    number = _whole(text)
    if number is None or not 0 < number < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def rate(text: str) -> float:
    """``--rate``: requests per second."""
    number = _number(text)
    if not LEAST_RATE_PER_S <= number <= MOST_RATE_PER_S:
        bounds = f"from {LEAST_RATE_PER_S:g} to {MOST_RATE_PER_S:,}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests per second {bounds}")
    return number


def reconnect_every(text: str) -> str:
    """``--reconnect-every``: in the form in which the run's record has it."""
    try:
        return str(read_reconnect_every(text))
    except ValueError as expected:
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from expected


def spike(text: str) -> str:
    """``--spike``: in the form in which the run's record has it. Locust sends it to its workers."""
    try:
        return str(read_spike(text))
    except ValueError as expected:
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from expected


def one_of(words: Sequence[str]) -> Callable[[str], str]:
    """An option that is one of these words."""

    def checked(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return checked


def seed(text: str) -> int:
    """``--seed``: a whole number."""
    number = _whole(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    if not -(2**63) <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 64 bits")
    return number


@cache  # Locust reads its command line again for each page of its web UI
def prefix(text: str) -> str:
    """``--csv``: checks that all files of a run can be written there. Makes the folder, as Locust does."""
    path = Path(text + RUN_RECORD_SUFFIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (*RUN_SUFFIXES, *LOCUSTS_SUFFIXES):
            path = Path(text + suffix)
            was_there = path.exists()
            if was_there and not path.is_file():
                raise argparse.ArgumentTypeError(f"{path} is there and is not a file; choose another prefix")
            path.open("ab").close()
            if not was_there:
                path.unlink()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise argparse.ArgumentTypeError(f"{path} can't be written ({reason}); choose another prefix") from error
    return text


@cache
def blocks_file(text: str) -> str:
    """``--blocks``: checks what the file says, and that all files of its runs can be written."""
    try:
        for target in read_blocks(Path(text)).targets:
            prefix(target.csv)
    except (OSError, ValueError, argparse.ArgumentTypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise argparse.ArgumentTypeError(f"{text} can't be used: {reason}") from error
    return text


@cache
def service_file(text: str) -> str:
    """``--service``: checks the service file, and that there is a request for each text."""
    try:
        asked_service(text)
    except NotValid as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "--service": {
        "type": service_file,
        "default": str(SERVICE),
        "metavar": "FILE",
        "include_in_web_ui": False,
        "help": "The service file, which says what the service is asked (inference/service.toml; docs/own-service.md)",
    },
    "--replicas": {
        "type": replicas_argument,
        "default": AUTO,
        "help": "auto (the replicas that serve --host), none, container:NAME, compose:PROJECT/SERVICE, swarm:SERVICE, "
        "process:PID, or process:PID@ssh://USER@HOST for one of another machine",
    },
    "--replica-interval": {
        "type": interval,
        "default": 0.25,
        "help": f"Seconds between two samples of a replica (0.25; at least {LEAST_INTERVAL_S:g})",
    },
    "--docker-host": {
        "action": "append",
        "default": [],
        "metavar": "URL",
        "include_in_web_ui": False,
        "help": "The Docker engine of another node of a swarm (ssh://USER@NODE or tcp://NODE:2376), to sample the "
        "replicas on that node too; repeatable",
    },
    "--seed": {
        "type": seed,
        "default": 0,
        "help": "Shuffle the texts of a load; the same seed gives the same order. 0: the order of their file (0)",
    },
    "--reconnect-every": {
        "type": reconnect_every,
        "metavar": "N",
        "help": "Users that keep their connections, and the pool of an open workload, replace each connection by a new "
        "one after so many requests (100), or when it is so many seconds old (10s). Without it they never do",
    },
    "--requests": {
        "type": count,
        "include_in_web_ui": False,
        "help": "End the run after this many requests of the measured phase, unless its run time ends it first",
    },
    "--live-changes": {
        "action": "store_true",
        "include_in_web_ui": False,
        "help": f"Buttons on the web UI's page /replicas kill, pause and scale the deployment, if `{INFRA} up` "
        "of this folder has started it (docs/watching.md)",
    },
    "--end-with-stdin": {
        "action": "store_true",
        "include_in_web_ui": False,
        "help": "End the run, as SIGTERM does, when standard input ends: the program that started the run has ended",
    },
    "--blocks": {
        "type": blocks_file,
        "metavar": "FILE",
        "include_in_web_ui": False,
        "help": "Visit several deployments by turns, in short blocks, as this file says (docs/run-files.md). It also "
        "names the hosts, their replicas, the warm-up and the end of the run. Headless only",
    },
    "--repeat-s": {
        "type": seconds,
        "default": 0.0,
        "include_in_web_ui": False,
        "help": "Repeat the single pass until all passes together took this many seconds. After the first pass, "
        "Locust makes the file PREFIX_first_pass_done and waits up to 30 s until it is removed (0: one pass, no file)",
    },
    "--warm-up": {
        "type": seconds,
        "default": 0.0,
        "help": "Seconds at the start of a run. Requests and samples in them are marked 'warm-up' and left out of "
        "all results (0)",
    },
}

OPEN_ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "--rate": {
        "type": rate,
        "default": 10.0,
        "help": "Requests per second of all users together, whether or not earlier ones are answered; with a "
        "LoadTestShape: of each user (10)",
    },
    "--arrivals": {
        "type": one_of(ARRIVALS),
        "choices": ARRIVALS,
        "default": CONSTANT,
        "help": "constant: requests are due at equal distances; poisson: at random, as those of many people who know "
        "nothing of each other (constant)",
    },
    "--connection": {
        "type": one_of(CONNECTIONS),
        "choices": CONNECTIONS,
        "default": KEPT,
        "help": "kept: requests use connections that are open and idle; new: each opens its own (kept)",
    },
    "--most-in-flight": {
        "type": count,
        "default": 1000,
        "help": "Requests that each process of Locust may have unanswered. Those that are due above it are not sent, "
        "and counted (1000)",
    },
    "--spike": {
        "type": spike,
        "action": "append",
        "default": [],
        "metavar": "AT_S:TIMES:SECONDS",
        "include_in_web_ui": False,
        "help": "From second AT_S of the measured load on the rate is TIMES as high for SECONDS; repeatable",
    },
}
"""The options of an open workload."""

FIELDS: Mapping[str, Callable[[str], Any]] = {
    flag.removeprefix("--").replace("-", "_"): argument["type"]
    for flag, argument in {**ARGUMENTS, **OPEN_ARGUMENTS}.items()
    if "type" in argument and flag not in ("--service", "--blocks", "--repeat-s", "--spike")
}
"""Fourfold's own fields of the web UI's form -> the check of each."""

NONE_IF_EMPTY = ("requests", "reconnect_every")
"""Fields that may be left empty."""


def add_arguments(parser: Any, **_: Any) -> None:
    """Add Fourfold's options to Locust's, and check Locust's own ``--host`` and ``--csv`` too.

    Locust takes any text for these two, and fails later. A listener to ``init_command_line_parser``.
    """
    for argument in parser._actions:
        argument.type = {"host": host_argument, "csv_prefix": prefix}.get(argument.dest, argument.type)
    for flag, settings in {**ARGUMENTS, **AGENT_ARGUMENTS}.items():
        parser.add_argument(flag, **settings)


def add_open_arguments(parser: Any, **_: Any) -> None:
    """Add the options of an open workload. A listener to ``init_command_line_parser``."""
    for flag, settings in OPEN_ARGUMENTS.items():
        parser.add_argument(flag, **settings)


def share_out_the_rate(options: argparse.Namespace) -> None:
    """Unless their number is given, one user for each worker, and all at once: each has its share of the rate."""
    if options.num_users is None:
        options.num_users = max(1, options.expect_workers if options.master else 1)
    if options.spawn_rate is None:
        options.spawn_rate = options.num_users


def contradiction(environment: Environment) -> str | None:
    """Why the options can't be used together, with the remedy; None: they can."""
    options = environment.parsed_options
    reasons = (
        keeps_no_connections(environment),
        _against_spikes(options),
        _changes_without_web_ui(environment),
        against_agents(options),
    )
    if reason := next(filter(None, reasons), None):
        return reason
    single_pass = any(getattr(user, "sends_each_text_once", False) for user in environment.user_classes)
    if options.repeat_s:
        return _against_repeats(options, single_pass=single_pass)
    if not options.blocks:
        return None
    if environment.web_ui is not None:
        return "--blocks needs --headless: the web UI shows one deployment"
    if single_pass:
        return NOT_IN_BLOCKS
    given = [flag for flag, is_given in _said_by_blocks(options).items() if is_given]
    return f"{options.blocks} says what {' and '.join(given)} would say; leave {_them(given)} out" if given else None


def _against_spikes(options: argparse.Namespace) -> str | None:
    spikes = [*map(read_spike, getattr(options, "spike", ()))]
    if spikes and options.blocks:
        return "--spike is for a load in one piece; leave --spike or --blocks out"
    reason = why_overlap(spikes)
    return reason and f"--spike can't be used: {reason}; leave one of them out"


def keeps_no_connections(environment: Environment) -> str | None:
    """Why ``--reconnect-every`` can't be used, with the remedy; None: it can, or is not."""
    options = environment.parsed_options
    if options.reconnect_every is None:
        return None
    if not any(getattr(user, "keeps_connection", False) for user in environment.user_classes):
        return (
            "--reconnect-every is for users that keep their connections, and these open one for each request; leave it "
            "out, or use locustfiles/keep_alive.py"
        )
    if getattr(options, "connection", KEPT) == NEW:
        return "--reconnect-every is for kept connections; leave it out, or use --connection kept"
    return None


def _changes_without_web_ui(environment: Environment) -> str | None:
    if environment.parsed_options.live_changes and environment.web_ui is None:
        return "--live-changes adds buttons to the web UI; leave it or --headless out"
    return None


def _against_repeats(options: argparse.Namespace, *, single_pass: bool) -> str | None:
    if not single_pass:
        return "--repeat-s is for the single pass; leave it out"
    if options.blocks:
        return NOT_IN_BLOCKS
    if options.master or options.worker:
        return "--repeat-s is for Locust without workers; leave out --processes, --master and --worker"
    return "a single pass that is repeated has no warm-up; leave --warm-up out" if options.warm_up else None


def _said_by_blocks(options: argparse.Namespace) -> dict[str, bool]:
    """The options whose part the file of ``--blocks`` has, and whether they were given too."""
    return {
        "--host": bool(options.host),
        "--replicas": options.replicas != AUTO,
        "--run-time": bool(options.run_time),
        "--warm-up": options.warm_up > 0,
        "--requests": options.requests is not None,
    }


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"


CHANGED_IN_A_RUN = ("rate", "connection", "most_in_flight")
"""Those of ``FIELDS`` that have an effect if they are changed while a load runs."""


def check_form(
    environment: Environment, is_running: Callable[[], bool], note_wrong: Callable[[list[str], str], None]
) -> None:
    """Check the host and Fourfold's own fields of the web UI's form at each start, and if the form is sent while a load
    runs: Locust would take any text.

    ``note_wrong`` is called each time with a sentence on each field that could not be used, or that was changed while a
    load runs; and with the number of users, as the form has it.
    """
    web = environment.web_ui
    options = vars(environment.parsed_options)
    at_start = dict(options)
    start = web.app.view_functions["locust.swarm"]

    @web.auth_required_if_enabled
    def checked_start() -> Response:
        form = request.form.copy()
        wrong = take_edit(form, options) if is_running() else take_fields(form, options, at_start)
        note_wrong(wrong, form.get("user_count", ""))
        try:
            wrong += _take_host(form, at_start["host"])
        except argparse.ArgumentTypeError as error:
            return jsonify({"success": False, "message": f"Host: {error}", "host": environment.host})
        if reason := keeps_no_connections(environment):
            return jsonify({"success": False, "message": reason, "host": environment.host})
        for name in FIELDS:
            form.poplist(name)
        request.form = type(request.form)(form)
        answer: Response = start()
        return answer

    web.app.view_functions["locust.swarm"] = checked_start


def take_fields(form: Mapping[str, str], options: dict[str, Any], at_start: Mapping[str, Any]) -> list[str]:
    """Put the form's own fields into Locust's options. Returns a sentence on each field that could not be used.

    In its place the value is used that ``at_start`` has: that which Locust was started with.
    """
    wrong = []
    for name in FIELDS.keys() & form.keys():
        text = form[name].strip()
        try:
            options[name] = None if name in NONE_IF_EMPTY and not text else FIELDS[name](text)
        except argparse.ArgumentTypeError as error:
            options[name] = at_start[name]
            given = error if text else "the field was empty"
            used = "no limit" if at_start[name] is None else at_start[name]
            wrong.append(f"{name.replace('_', ' ')} of the web UI's form: {given}; {used} was used")
    if "run_time" in form and not form["run_time"].strip():
        options["run_time"] = None  # or Locust would keep that of the last run, which does not end this one
    return wrong


def take_edit(form: Mapping[str, str], options: dict[str, Any]) -> list[str]:
    """As ``take_fields``, while a load runs: a value that can't be used, or that can't be changed now, stays as it is.

    Returns a sentence on each such field too, and on each that was changed.
    """
    before = dict(options)
    said = take_fields(form, options, before)
    for name in FIELDS:
        had, has = before.get(name), options.get(name)
        if had == has:
            continue
        field = f"{name.replace('_', ' ')} of the web UI's form"
        if name in CHANGED_IN_A_RUN:
            said.append(f"{field}: changed from {had} to {has} while the load ran; results of the whole run mix both")
        else:
            options[name] = had
            said.append(
                f"{field}: it can't be changed while the load runs; {had} was used. Stop the load, and start anew"
            )
    return said


def _take_host(form: MutableMapping[str, str], at_start: str | None) -> list[str]:
    """Complete the form's host. Returns a sentence if the field was empty and the host of the start is used instead.

    Raises:
        argparse.ArgumentTypeError: it is not the address of a service.
    """
    if "host" not in form:
        return []
    try:
        form["host"] = host_argument(form["host"])
    except argparse.ArgumentTypeError:
        if form["host"].strip() or not at_start:
            raise
        form["host"] = at_start
        return [f"host of the web UI's form: the field was empty; {at_start} was used"]
    return []


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,1000}", text) else None
