"""What the engine does alone, called in a loop: ``python -m benchmarks.engine_alone MODEL BODIES SECONDS``.

As many threads call it as it has lanes, each with batches of the texts in their order, as large as the service makes
them. Prints texts a second.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from inference.onnx_engine import LARGEST_BATCH, LARGEST_BATCH_CHARACTERS, OnnxEngine
from inference.processors import compute_threads


def main() -> None:
    model, bodies, seconds = sys.argv[1:]
    engine = OnnxEngine(Path(model) / "onnx_engine", compute_threads())
    texts = [json.loads(line)["text"] for line in Path(bodies).read_text(encoding="utf-8").splitlines()]
    batches: list[list[str]] = [[]]
    for text in texts:
        last = batches[-1]
        if len(last) == LARGEST_BATCH or (last and len("".join(last)) + len(text) > LARGEST_BATCH_CHARACTERS):
            batches.append([])
        batches[-1].append(text)
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
