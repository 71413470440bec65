"""``python -m inference.fetch [FOLDER]``: get the model now, and export it, so that no start of the service has to.

Prints what ``INFERENCE_MODEL`` means here, and which engine will serve it, as one line of JSON. With FOLDER, the
model's files are copied there, exported ones too; the image is built so, and its replicas start without the network.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from inference.engines.choice import wanted_engine
from inference.engines.engine import EngineUnavailable
from inference.engines.export import EXPORTED, exported, to_stderr
from inference.model_choice import ModelUnavailable, choose, wanted_model, write_origin


def main() -> int:
    description = "Get the model now, and export it, so that no start of the service has to."
    parser = argparse.ArgumentParser(prog="python -m inference.fetch", description=description)
    parser.add_argument("folder", nargs="?", type=Path, help="copy the model's files here")
    folder: Path | None = parser.parse_args().folder
    try:
        wanted = wanted_engine()
        choice = choose(wanted_model(), warn=lambda text: to_stderr(f"warning: {text}"))
    except (ModelUnavailable, ValueError) as error:
        to_stderr(f"error: {error}")
        return 1
    engine, why_not = "torch", "INFERENCE_ENGINE=torch"
    made: Path | None = None
    if wanted != "torch":
        try:
            made = exported(choice)
            engine, why_not = "onnx", ""
        except (EngineUnavailable, ModelUnavailable) as error:
            if wanted == "onnx":
                to_stderr(f"error: INFERENCE_ENGINE=onnx: {error}")
                return 1
            why_not = str(error)
            to_stderr(f"warning: the torch engine will serve: {why_not}")
    if folder is not None:
        ignored = shutil.ignore_patterns(EXPORTED)
        shutil.copytree(choice.path, folder, dirs_exist_ok=True, ignore=ignored)
        if made is not None:
            shutil.copytree(made, folder / EXPORTED, dirs_exist_ok=True)
        write_origin(choice, folder)
        for path in [folder, *folder.rglob("*")]:  # for an image, in which another user than root reads it
            path.chmod(0o755 if path.is_dir() else 0o644)
    said = asdict(choice) | {"path": str(folder or choice.path), "engine": engine, "why_not_faster": why_not or None}
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
