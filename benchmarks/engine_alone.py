"""What the engine does alone, called in a loop: ``python -m benchmarks.engine_alone MODEL BODIES SECONDS``.

As many threads call it as it has lanes, with batches of texts of like length out of 32 that follow one another, as 32
connections would keep waiting. Prints texts a second.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from inference.onnx_engine import LARGEST_BATCH, OnnxEngine
from inference.processors import compute_threads

WAITING = 32


def main() -> None:
    model, bodies, seconds = sys.argv[1:]
    engine = OnnxEngine(Path(model) / "onnx_engine", compute_threads())
    texts = [json.loads(line)["text"] for line in Path(bodies).read_text(encoding="utf-8").splitlines()]
    batches = []
    for at in range(0, len(texts), WAITING):
        alike = sorted(texts[at : at + WAITING], key=len)
        batches += [alike[begin : begin + LARGEST_BATCH] for begin in range(0, len(alike), LARGEST_BATCH)]
    engine.classify(batches[0], alone=False)
    done = [0] * engine.lanes
    until = time.monotonic() + float(seconds)

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
    print(sum(done) / (time.monotonic() - began))


if __name__ == "__main__":
    main()
