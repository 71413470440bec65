"""How fast the service is, compared with the usual app and its peers: ``python -m benchmarks.serving --json FILE``.

All services are started first. They are then loaded in turn, in the opposite order each round, so that changes on the
machine affect all of them. Services that are not loaded are stopped (SIGSTOP). Each result is the median over the
rounds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import serving_docker
from benchmarks.checkpoint import CHECKPOINT_BYTES, make_checkpoint
from benchmarks.needs import (
    BENCHMARK_REQUIREMENTS,
    Figures,
    output_file,
    positive,
    require,
    run,
    temporary_folder,
    why_no_image,
    why_no_packages,
    why_no_program,
    why_no_space,
)
from benchmarks.serving_load import burst, steady
from benchmarks.serving_report import write_report
from benchmarks.serving_services import ALL, LITSERVE, MOSEC, MOSEC_OWN, OWN, REFERENCE, ROOT, USUAL, Running, running
from infra.environment import for_service

CONNECTIONS = (1, 8, 32)
WARM_UP_S = 1.0
PARTS = ("load", "overload", "docker")
REVIEWS = ROOT / "texts" / "reviews.csv"
INSTRUCTIONS = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx2")
MEASURES = ("throughput", "p50_ms", "p95_ms", "p99_ms")


def main() -> int:
    options = _options()
    require(
        why_no_packages(*_packages(options), requirements=BENCHMARK_REQUIREMENTS),
        why_no_program("wrk"),
        why_no_image(options.image) if "docker" in options.parts else None,
        None if options.model else why_no_space(temporary_folder(), CHECKPOINT_BYTES * 2),
    )
    _allow_many_connections()
    record = Figures(options.json, machine=machine(), rounds=options.rounds, seconds=options.seconds)
    record.update(options.known)
    with tempfile.TemporaryDirectory(prefix="fourfold-serving-") as name:
        folder = Path(name)
        model = options.model or _checkpoint(folder / "checkpoint")
        bodies = folder / "bodies"
        texts = [row["text"] for row in csv.DictReader(REVIEWS.open(encoding="utf-8", newline=""))]
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        if "load" in options.parts:
            measure_load(record, options, model, bodies, texts, folder)
        if "overload" in options.parts:
            record.keep(overload=measure_overload(model, bodies, texts, folder))
        if "docker" in options.parts:
            for found in serving_docker.measure(options.image, model, bodies, options.rounds, options.seconds):
                record.keep(docker=found)
    if options.report:
        write_report(record, options.report)
    print(json.dumps(record.get("ratio_to_usual_app"), indent=1))
    return 0


def _packages(options: argparse.Namespace) -> list[str]:
    """What the chosen services and parts import."""
    names = ["onnxruntime", "psutil", "uvicorn"]
    if not options.model or set(options.only) - {OWN}:
        names += ["torch", "transformers"]
    by_service = {USUAL: "flask", LITSERVE: "litserve", MOSEC: "mosec", MOSEC_OWN: "mosec"}
    if "load" in options.parts:
        names += sorted({by_service[name] for name in options.only if name in by_service})
    return names


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=positive, default=3, help="how often each service is measured (3)")
    parser.add_argument("--seconds", type=float, default=6, help="seconds of load each time, after 1 s of warm-up (6)")
    parser.add_argument(
        "--only", default=",".join(ALL), help=f"services to measure, separated by commas ({', '.join(ALL)})"
    )
    parser.add_argument(
        "--parts", default="load,overload", help=f"parts to measure, separated by commas ({', '.join(PARTS)})"
    )
    parser.add_argument(
        "--model", type=Path, help="a folder that inference.fetch wrote (default: a checkpoint of random weights)"
    )
    parser.add_argument("--image", default="llm-inference-image", help="the service's image, for the part docker")
    parser.add_argument(
        "--json", type=output_file, help="write all figures there; parts that the file already has are kept"
    )
    parser.add_argument("--report", type=output_file, help="write the tables there, as Markdown")
    options = parser.parse_args()
    options.only = [name.strip() for name in options.only.split(",")]
    options.parts = [name.strip() for name in options.parts.split(",")]
    unknown = (set(options.only) - set(ALL)) | (set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))} is not known")
    if options.model and not (options.model / "onnx_engine").is_dir():
        parser.error(f"{options.model} holds no exported model; make it with python -m inference.fetch {options.model}")
    options.known = {}
    if options.json and options.json.is_file():
        try:
            options.known = dict(json.loads(options.json.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            parser.error(f"{options.json} is not a file of this benchmark; name another file (--json)")
    return options


def machine() -> dict[str, Any]:
    """The machine that measured."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _checkpoint(folder: Path) -> Path:
    """The checkpoint of random weights, exported."""
    plain = folder.with_name("plain")
    plain.mkdir()
    make_checkpoint(plain)
    environment = for_service() | {"INFERENCE_MODEL": str(plain)}
    command = [sys.executable, "-m", "inference.fetch", str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return folder


def measure_load(
    record: Figures, options: argparse.Namespace, model: Path, bodies: Path, texts: list[str], folder: Path
) -> None:
    """Throughput, latency, memory and start-up time of each service, and how fast the inference engine is alone.

    The results are kept after each round.
    """
    found: dict[str, dict[str, Any]] = {
        name: {"starts_s": _starts_s(name, options.rounds, model, folder), "memory_bytes": 0, "connections": {}}
        for name in options.only
    }
    alone: list[float] = []
    with ExitStack() as stack:
        services = [stack.enter_context(running(name, model, folder)) for name in options.only]
        for service in services:
            service.settle()
            service.halt()
        for number in range(options.rounds):
            for connections in CONNECTIONS:
                for service in services if number % 2 == 0 else reversed(services):
                    if service.name != MOSEC_OWN or connections == CONNECTIONS[-1]:
                        _load(service, bodies, connections, options.seconds, found[service.name])
            command = [sys.executable, "-m", "benchmarks.engine_alone", str(model), str(bodies), str(options.seconds)]
            done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
            alone.append(float(done.stdout))
            print(
                f"round {number + 1} of {options.rounds}: engine alone {alone[-1]:.0f}/s", file=sys.stderr, flush=True
            )
            record.keep(rounds=number + 1, **_medians(found, alone))
        for service in services:
            service.go_on()
        for service in services:
            if service.name == OWN:
                found[OWN]["new_connections_32"] = steady(
                    _url(service), bodies, 32, options.seconds, new_connections=True
                )
        record.keep(services=found, same_labels_as_usual_app=_same_labels(services, texts))


def _medians(found: dict[str, dict[str, Any]], alone: list[float]) -> dict[str, Any]:
    """The results of the rounds so far."""
    for service in found.values():
        service["seconds_to_healthy"] = statistics.median(service["starts_s"])
        for measured in service["connections"].values():
            measured |= {name: statistics.median(part[name] for part in measured["rounds"]) for name in MEASURES}
    medians: dict[str, Any] = {
        "services": found,
        "engine_alone": {"rounds": alone, "median": statistics.median(alone)},
    }
    if USUAL in found:
        medians["ratios"] = {name: _ratios(service, found[USUAL]) for name, service in found.items()}
        medians["ratio_to_usual_app"] = medians["ratios"].get(OWN)
    return medians


def _starts_s(name: str, times: int, model: Path, folder: Path) -> list[float]:
    """How long the service takes until its first answer. No other service runs: that would slow the start."""
    found = []
    for _ in range(times):
        with running(name, model, folder) as service:
            found.append(service.seconds_to_healthy)
    return found


def _load(service: Running, bodies: Path, connections: int, seconds: float, found: dict[str, Any]) -> None:
    service.go_on()
    steady(_url(service), bodies, connections, WARM_UP_S)
    service.settle()
    measured = steady(_url(service), bodies, connections, seconds)
    service.settle()
    service.halt()
    found["connections"].setdefault(str(connections), {"rounds": []})["rounds"].append(measured)
    found["memory_bytes"] = max(found["memory_bytes"], service.memory_bytes())
    print(
        f"{service.name}, {connections} connections: {measured['throughput']:.0f}/s, p99 {measured['p99_ms']:.0f} ms",
        file=sys.stderr,
        flush=True,
    )


def _url(service: Running) -> str:
    return f"http://127.0.0.1:{service.port}{service.path}"


def _ratios(service: dict[str, Any], usual: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Throughput and p99 divided by those of the usual app, by connections."""
    return {
        number: {
            "throughput": measured["throughput"] / usual["connections"][number]["throughput"],
            "p99": measured["p99_ms"] / usual["connections"][number]["p99_ms"],
        }
        for number, measured in service["connections"].items()
    }


def _same_labels(services: list[Running], texts: list[str]) -> dict[str, int]:
    """For how many texts each of our inference engines gives the same label as the usual app."""
    said = {
        service.name: [service.answer(text)["sentiment"] for text in texts]
        for service in services
        if service.name in (USUAL, OWN, REFERENCE)
    }
    usual = said.get(USUAL)
    if usual is None:
        return {}
    return {
        name: sum(a == b for a, b in zip(labels, usual, strict=True)) for name, labels in said.items() if name != USUAL
    }


def measure_overload(model: Path, bodies: Path, texts: list[str], folder: Path) -> dict[str, Any]:
    """200 connections for 5 s, then 2,000 requests at once: answers, refusals, and the time of a request afterwards."""
    with running(OWN, model, folder) as service:
        steady(_url(service), bodies, 32, 2)
        memory = [service.memory_bytes()]
        many = steady(_url(service), bodies, 200, 5)
        memory.append(service.memory_bytes())
        at_once = burst(service.port, service.path, texts[0], 2000)
        memory.append(service.memory_bytes())
        time.sleep(1)
        began = time.monotonic()
        service.answer(texts[0])
        afterwards_ms = (time.monotonic() - began) * 1000
    return {
        "connections_200": many,
        "burst": at_once,
        "memory_bytes": memory,
        "one_second_later_ms": afterwards_ms,
    }


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(run(main))
