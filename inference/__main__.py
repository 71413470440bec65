"""``python -m inference``: the sentiment service, set up by the environment.

HOST, PORT            where to listen (0.0.0.0:5000)
INFERENCE_MODEL       a hub name, a folder, or auto (auto)
INFERENCE_ENGINE      onnx, torch, or auto: the fastest that agrees with the reference (auto)
INFERENCE_DEVICE      cpu, cuda, or auto: a GPU where there is one (auto)
INFERENCE_QUEUE       how many texts may wait for the model (256)
METRICS_LOG_FILE      where each answered request becomes a row (system_inference_metrics.csv)
REPLICA_NAME          the name to answer by in X-Replica (the host name)
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

from inference.app import Service, create_app, replica_name
from inference.batching import Batcher, queue_limit
from inference.engines.choice import open_engine, wanted_device, wanted_engine
from inference.engines.engine import EngineUnavailable
from inference.engines.export import to_stderr
from inference.logs import log_sparingly
from inference.metrics_log import MetricsLog
from inference.model_choice import ModelUnavailable, choose, wanted_model
from inference.server import serve
from inference.telemetry import Telemetry

WARM_UP_TEXT = "A first text, so that the first request does not pay for what only the first one pays."


def main() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 shows what it can
    log_sparingly()
    # By default on all addresses, as a container is reached from outside itself. An IPv6 address may have brackets.
    host = (os.environ.get("HOST") or "0.0.0.0").strip("[]")  # noqa: S104
    path = Path(os.environ.get("METRICS_LOG_FILE") or "system_inference_metrics.csv")
    try:
        port = _port(os.environ.get("PORT") or "5000")
        replica = replica_name()
        wanted, device, limit = wanted_engine(), wanted_device(), queue_limit()
        telemetry = Telemetry()
        metrics = MetricsLog(path, telemetry.file_fault)
    except ValueError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"METRICS_LOG_FILE={path} can't be written ({error.strerror}); {_remedy(path, error)}")
    with metrics:
        try:
            model = choose(wanted_model(), warn=lambda text: to_stderr(f"warning: {text}"))
            engine, facts = open_engine(wanted, device, model)
        except (ModelUnavailable, EngineUnavailable) as error:
            return _fail(str(error))
        engine.classify([WARM_UP_TEXT], alone=True)
        classifier = Batcher(engine, facts, limit, telemetry.batch)
        telemetry.watch_queue(classifier.waiting)
        if facts["why_not_faster"] and wanted == "auto":
            to_stderr(f"warning: the torch engine serves: {facts['why_not_faster']}")
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        print(f"serving {model.name} ({engine.name}) at http://{place}, metrics in {path}", flush=True)
        try:
            serve(create_app(Service(classifier, model, metrics, replica, telemetry)), host, port)
        except OSError as error:
            return _fail(f"{place} can't be listened on ({error}); end what listens there, or set HOST or PORT")
        finally:
            classifier.close()
    return 0


def _remedy(path: Path, error: OSError) -> str:
    """What lets the metrics file be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free space there, or name a file elsewhere"
    if error.errno in (errno.EACCES, errno.EPERM) and path.is_file():
        owner = path.stat().st_uid
        if owner != os.getuid():
            return f"it belongs to user {owner}: run as that user (this is {os.getuid()}), or change its owner"
        return "change its mode or its attributes, or name another file"
    return "name a file in a writable folder, or /dev/null to keep no rows"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) < 65536:
        raise ValueError(f"PORT={text} is not a port; expected a number from 1 to 65535")
    return int(text)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    try:
        status = main()
    except KeyboardInterrupt:  # before it serves
        status = 130
    sys.exit(status)
