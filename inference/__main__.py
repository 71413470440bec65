"""``python -m inference``: serve the model over HTTP. Environment variables set it up; ``--help`` lists them."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from contextlib import closing
from os.path import isfile
from pathlib import Path

from inference.app import Service, create_app
from inference.batching import Batcher
from inference.configuration import AUTO, Configuration, WrongValue, help_text, read_configuration
from inference.engines.choice import open_engine
from inference.engines.engine import EngineUnavailable
from inference.engines.export import to_stderr
from inference.logs import log_sparingly
from inference.metrics_log import MetricsLog, NotMetricsFile
from inference.model_choice import ModelUnavailable, choose
from inference.server import listen, serve
from inference.telemetry import Telemetry

WARM_UP_TEXT = "A first text, so that the first request does not pay for what only the first one pays."


def main() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 shows what it can
    description = "Serve the model over HTTP until SIGTERM or SIGINT. Environment variables set it up."
    argparse.ArgumentParser(
        prog="python -m inference",
        description=description,
        epilog=help_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    log_sparingly()
    telemetry = Telemetry()
    try:
        wanted = read_configuration()
    except WrongValue as error:
        return _fail(str(error))
    path = wanted.metrics_file
    try:
        metrics = MetricsLog(path, telemetry.file_fault)
    except OSError as error:
        return _fail(f"METRICS_LOG_FILE={path} can't be written ({error.strerror}); {_remedy(path, error)}")
    with metrics:
        return _serve(wanted, metrics, telemetry)


def _serve(wanted: Configuration, metrics: MetricsLog, telemetry: Telemetry) -> int:
    """Load the model, and answer until the service is asked to stop; the exit code."""
    try:
        model = choose(wanted.model, warn=lambda text: to_stderr(f"warning: {text}"))
        engine, facts = open_engine(wanted.engine, wanted.device, model)
    except (ModelUnavailable, EngineUnavailable) as error:
        return _fail(str(error))
    engine.classify([WARM_UP_TEXT], alone=True)
    classifier = Batcher(engine, facts, wanted.queue_limit, telemetry.batch)
    telemetry.watch_queue(classifier.waiting)
    if facts["why_not_faster"] and wanted.engine == AUTO:
        to_stderr(f"warning: the torch engine serves: {facts['why_not_faster']}")
    place = f"[{wanted.host}]:{wanted.port}" if ":" in wanted.host else f"{wanted.host}:{wanted.port}"
    with closing(classifier):
        try:
            listener = listen(wanted.host, wanted.port)
        except OSError as error:
            return _fail(f"{place} can't be listened on ({error}); {_remedy_for_address(wanted, error)}")
        with listener:
            print(f"serving {model.name} ({engine.name}) at http://{place}, metrics in {metrics.path}", flush=True)
            serve(create_app(Service(classifier, model, metrics, wanted.replica, telemetry)), listener)
    return 0


def _remedy_for_address(wanted: Configuration, error: OSError) -> str:
    """What the user can do so that the service can listen."""
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{wanted.host} is no address of this machine: set HOST to one that is, or to 0.0.0.0 for all of them"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not listen on port {wanted.port}: set PORT to one above 1023"
    return "end what listens there, or set HOST or PORT"


def _remedy(path: Path, error: OSError) -> str:
    """What the user can do so that the metrics file can be written."""
    if isinstance(error, NotMetricsFile):
        return "name another file, or move this one away"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free space there, or name a file elsewhere"
    if error.errno in (errno.EACCES, errno.EPERM) and isfile(path):  # Path.is_file raises where this user may not look
        owner = path.stat().st_uid
        if owner != os.getuid():
            return f"it belongs to user {owner}: run as that user (this is {os.getuid()}), or change its owner"
        return "change its mode or its attributes, or name another file"
    return "name a file in a writable folder, or /dev/null to keep no rows"


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    try:
        status = main()
    except KeyboardInterrupt:  # before it serves
        status = 130
    sys.exit(status)
