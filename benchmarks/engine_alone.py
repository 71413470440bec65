"""How fast the inference engine is without the service: ``python -m benchmarks.engine_alone MODEL BODIES SECONDS``.

One thread for each lane of the engine calls it in a loop, with the texts in order, in batches as large as the service
makes them. Prints texts per second.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path

from benchmarks.needs import require, run, why_no_packages


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine_alone", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("model", type=Path, help="a folder that inference.fetch wrote")
    parser.add_argument("bodies", type=Path, help='a file with one {"text": ...} per line')
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args()
    if not (arguments.model / "onnx_engine").is_dir():
        parser.error(f"{arguments.model} holds no exported model; make it with python -m inference.fetch FOLDER")
    if not arguments.bodies.is_file():
        parser.error(f"{arguments.bodies} does not exist")
    require(why_no_packages("numpy", "onnxruntime", "tokenizers"))
    print(texts_per_s(arguments.model, arguments.bodies, arguments.seconds))
    return 0


def texts_per_s(model: Path, bodies: Path, seconds: float) -> float:
    from inference.engines.onnx_engine import LARGEST_BATCH, LARGEST_BATCH_CHARACTERS, OnnxEngine
    from inference.engines.processors import compute_threads

    engine = OnnxEngine(model / "onnx_engine", compute_threads())
    texts = [json.loads(line)["text"] for line in bodies.read_text(encoding="utf-8").splitlines()]
    batches: list[list[str]] = [[]]
    for text in texts:
        last = batches[-1]
        if len(last) == LARGEST_BATCH or (last and len("".join(last)) + len(text) > LARGEST_BATCH_CHARACTERS):
            batches.append([])
        batches[-1].append(text)
    engine.classify(batches[0], alone=False)
    done = [0] * engine.lanes
    until = time.monotonic() + seconds

    def lane(number: int) -> None:
        turn = number
        while time.monotonic() < until:
            batch = batches[turn % len(batches)]
            engine.classify(batch, alone=engine.lanes == 1)
            done[number] += len(batch)
            turn += engine.lanes

    threads = [threading.Thread(target=lane, args=(number,)) for number in range(engine.lanes)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(run(main))
