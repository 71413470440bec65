"""``python -m inference.fetch [FOLDER]``: get the model and export it now, so that the service starts faster later.

Prints one line of JSON: which model ``INFERENCE_MODEL`` means here, and which inference engine will serve it. With
FOLDER, the model's files and the exported ones are copied there. The image is built this way, so its replicas need no
network to start.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from inference.configuration import INFERENCE_ENGINE, INFERENCE_MODEL, XDG_CACHE_HOME, WrongValue, help_text
from inference.engines.engine import EngineUnavailable
from inference.engines.export import EXPORTED, exported, to_stderr
from inference.model_choice import ModelChoice, ModelUnavailable, choose, write_origin


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m inference.fetch",
        description="Get the model and export it now, so that the service starts faster later.",
        epilog=help_text((INFERENCE_MODEL, INFERENCE_ENGINE, XDG_CACHE_HOME)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, help="copy the model's files here")
    folder: Path | None = parser.parse_args().folder
    try:
        wanted = INFERENCE_ENGINE.read()
        choice = choose(INFERENCE_MODEL.read(), warn=lambda text: to_stderr(f"warning: {text}"))
    except (ModelUnavailable, WrongValue) as error:
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
        _copy(choice, made, folder)
    said = asdict(choice) | {"path": str(folder or choice.path), "engine": engine, "why_not_faster": why_not or None}
    said["build_target"] = "torch" if engine == "torch" else None  # of the Dockerfile
    print(json.dumps(said))
    return 0


def _copy(choice: ModelChoice, made: Path | None, folder: Path) -> None:
    """Copy the model's files to ``folder``, and what was exported from them."""
    shutil.copytree(choice.path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(EXPORTED))
    if made is not None:
        shutil.copytree(made, folder / EXPORTED, dirs_exist_ok=True)
    write_origin(choice, folder)
    for path in [folder, *folder.rglob("*")]:  # an image holds this folder, and its user is not root
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    sys.exit(main())
