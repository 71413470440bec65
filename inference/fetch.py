"""``python -m inference.fetch [FOLDER]``: get the model now, so that no start of the service has to.

Prints what ``INFERENCE_MODEL`` means here as one line of JSON. With FOLDER, the model's files are copied there; the
image is built so, and its replicas then start without the network.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from inference.model_choice import ModelUnavailable, choose, wanted_model, write_origin


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m inference.fetch", description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="copy the model's files here")
    folder: Path | None = parser.parse_args().folder
    try:
        choice = choose(wanted_model(), warn=lambda text: print(f"warning: {text}", file=sys.stderr))
    except ModelUnavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if folder is not None:
        shutil.copytree(choice.path, folder, dirs_exist_ok=True)
        write_origin(choice, folder)
    print(json.dumps(asdict(choice) | {"path": str(folder or choice.path)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
