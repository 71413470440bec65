"""Which model answers: a hub name, a folder, or the default with the bundled model in reserve.

The hub's library is imported where the hub is asked: a service whose model lies in a folder starts without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

AUTO = "auto"
DEFAULT_MODEL = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
BUNDLED_MODEL = Path(__file__).parent / "bundled_model"

QUICK_LOOK_S = 3.0
"""The hub's library tries again for 26 s in a closed network; a service that has a model in reserve need not wait."""

ORIGIN_FILE = "fourfold_origin.json"
"""Beside a model copied by ``python -m inference.fetch``: where it came from."""

NEEDED_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]


class ModelUnavailable(Exception):
    """A model that was asked for by name can't be had. The message says which, why, and what to do."""


@dataclass(frozen=True)
class ModelChoice:
    """A model on this machine's disk, and where it came from.

    ``source`` is ``hub``, ``folder`` or ``bundled``; ``sha256`` is taken over the weights, so that two deployments
    that name the same model differently are still known to run the same one.
    """

    name: str
    source: str
    path: Path
    sha256: str


def choose(wanted: str, warn: Callable[[str], None]) -> ModelChoice:
    """The model that ``INFERENCE_MODEL=wanted`` means here and now, downloaded if need be.

    ``auto`` never fails: where the default model is neither cached nor to be downloaded, ``warn`` is called once and
    the bundled model is taken.

    Raises:
        ModelUnavailable: a model named by the user can't be had.
    """
    if wanted == AUTO:
        return _default_or_bundled(warn)
    if Path(wanted).is_dir():
        return _in_folder(Path(wanted))
    return _named(wanted)


def _default_or_bundled(warn: Callable[[str], None]) -> ModelChoice:
    if _is_cached(DEFAULT_MODEL):
        return _from_hub(DEFAULT_MODEL, local_files_only=True)
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    reason = _why_hub_does_not_answer(DEFAULT_MODEL)
    if reason is None:
        try:
            return _from_hub(DEFAULT_MODEL, local_files_only=False)
        except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            reason = _first_line(error)
    warn(
        f"{DEFAULT_MODEL} is not cached and can't be downloaded ({reason}); the small bundled model answers instead. "
        "Its figures are those of a toy: compare deployments with it, not models."
    )
    return ModelChoice("bundled", "bundled", BUNDLED_MODEL, weights_sha256(BUNDLED_MODEL))


def _in_folder(folder: Path) -> ModelChoice:
    if not (folder / "config.json").is_file():
        raise ModelUnavailable(
            f"INFERENCE_MODEL={folder} is a folder without config.json; name one that save_pretrained() wrote"
        )
    origin = folder / ORIGIN_FILE
    known = json.loads(origin.read_text(encoding="utf-8")) if origin.is_file() else {}
    digest = known["sha256"] if "sha256" in known and not _weight_files(folder) else weights_sha256(folder)
    return ModelChoice(known.get("name", str(folder)), known.get("source", "folder"), folder, digest)


def _named(name: str) -> ModelChoice:
    if name.startswith((".", "/", "~")):
        raise ModelUnavailable(f"INFERENCE_MODEL={name}: there is no such folder")
    from huggingface_hub.errors import (  # noqa: PLC0415
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        return _from_hub(name, local_files_only=_is_cached(name))
    except HFValidationError:
        raise ModelUnavailable(f"INFERENCE_MODEL={name} is neither a folder here nor a name the hub can have") from None
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ModelUnavailable(
            f"INFERENCE_MODEL={name} is not cached and can't be downloaded ({_first_line(error)}); "
            "check the name and the network, name a folder, or leave INFERENCE_MODEL unset"
        ) from None


def _from_hub(name: str, *, local_files_only: bool) -> ModelChoice:
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    folder = Path(snapshot_download(name, allow_patterns=NEEDED_FILES, local_files_only=local_files_only))
    return ModelChoice(name, "hub", folder, weights_sha256(folder))


def _is_cached(name: str) -> bool:
    """Whether the weights are in the hub's cache, and so all of an earlier download: they are its longest file."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415

    try:
        return all(isinstance(try_to_load_from_cache(name, file), str) for file in ("config.json", "model.safetensors"))
    except HFValidationError:
        return False


def _why_hub_does_not_answer(name: str) -> str | None:
    """One look at the hub, bounded in time whatever the network does; None when it answers."""
    from huggingface_hub import HfApi  # noqa: PLC0415
    from huggingface_hub.errors import OfflineModeIsEnabled  # noqa: PLC0415

    answers: list[str | None] = []

    def look() -> None:
        try:
            HfApi().model_info(name, timeout=QUICK_LOOK_S)
            answers.append(None)
        except OfflineModeIsEnabled:
            answers.append("HF_HUB_OFFLINE is set")
        except Exception as error:  # whatever keeps the hub from answering is the reason that is reported
            answers.append(_first_line(error))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(QUICK_LOOK_S)
    return answers[0] if answers else f"the hub did not answer within {QUICK_LOOK_S:g} s"


def weights_sha256(folder: Path) -> str:
    """SHA-256 over the weight files of a model folder, in the order of their names.

    Raises:
        ModelUnavailable: there are none.
    """
    files = _weight_files(folder)
    if not files:
        raise ModelUnavailable(f"{folder} holds no weights (*.safetensors); name a folder that save_pretrained() wrote")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as weights:
            while block := weights.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def write_origin(choice: ModelChoice, folder: Path) -> None:
    """Leave word in ``folder`` of where the model that was copied there came from, and of its weights: the image that
    serves with the ONNX engine holds them in another form only."""
    origin = {key: value for key, value in asdict(choice).items() if key != "path"}
    (folder / ORIGIN_FILE).write_text(json.dumps(origin) + "\n", encoding="utf-8")


def wanted_model() -> str:
    """What ``INFERENCE_MODEL`` asks for."""
    return os.environ.get("INFERENCE_MODEL") or AUTO


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
