"""Which model answers: one named at the hub, one in a folder, or the default one with the bundled model in reserve.

The hub's library is imported only when the hub is asked. A service whose model is in a folder starts without it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from os.path import isdir, isfile
from pathlib import Path

from inference.configuration import AUTO

DEFAULT_MODEL = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
BUNDLED_MODEL = Path(__file__).parent / "bundled_model"

QUICK_LOOK_S = 3.0
"""How long to wait for the hub. Its library tries for 26 s in a closed network, but there is a model in reserve."""

ORIGIN_FILE = "fourfold_origin.json"
"""Says where a model came from that ``python -m inference.fetch`` copied to the folder."""

EXPORTER = ("torch", "transformers", "onnx", "safetensors")
"""The packages that export a checkpoint for the ONNX engine. The bundled model comes exported."""

NEEDED_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]


class ModelUnavailable(Exception):
    """The model that the user named can't be had. The message says which, why, and what to do."""


@dataclass(frozen=True)
class ModelChoice:
    """A model on this machine's disk, and where it came from.

    ``source`` is ``hub``, ``folder`` or ``bundled``. ``sha256`` is computed from the weights. It shows that two
    deployments run the same model, even if they name it differently.
    """

    name: str
    source: str
    path: Path
    sha256: str


def missing_exporter() -> list[str]:
    """Those packages of ``EXPORTER`` that are not installed."""
    return [name for name in EXPORTER if find_spec(name) is None]


def choose(wanted: str, warn: Callable[[str], None]) -> ModelChoice:
    """The model that ``INFERENCE_MODEL=wanted`` means here and now. It is downloaded if need be.

    ``auto`` never fails: if the default model can't be exported, or is neither cached nor can be downloaded, the
    bundled model is chosen and ``warn`` is called once.

    Raises:
        ModelUnavailable: the model that the user named can't be had.
    """
    if wanted == AUTO:
        return _default_or_bundled(warn)
    if isdir(wanted):  # Path.is_dir raises where this user may not look
        return _in_folder(Path(wanted))
    return _named(wanted)


def _default_or_bundled(warn: Callable[[str], None]) -> ModelChoice:
    if missing := missing_exporter():
        lacking = f"{DEFAULT_MODEL} can't be exported without {', '.join(missing)} (pip install 'fourfold[torch]')"
        return _bundled(lacking, warn)
    if _is_cached(DEFAULT_MODEL):
        return _from_hub(DEFAULT_MODEL, local_files_only=True)
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    reason = _why_hub_does_not_answer(DEFAULT_MODEL)
    if reason is None:
        try:
            return _from_hub(DEFAULT_MODEL, local_files_only=False)
        except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            reason = _first_line(error)
    return _bundled(f"{DEFAULT_MODEL} is not cached and can't be downloaded ({reason})", warn)


def _bundled(reason: str, warn: Callable[[str], None]) -> ModelChoice:
    warn(f"{reason}; the small bundled model answers instead. Use it to compare deployments, not models.")
    return ModelChoice("bundled", "bundled", BUNDLED_MODEL, weights_sha256(BUNDLED_MODEL))


def _in_folder(folder: Path) -> ModelChoice:
    if not isfile(folder / "config.json"):
        raise ModelUnavailable(
            f"INFERENCE_MODEL={folder} is a folder without config.json; name one that save_pretrained() wrote"
        )
    origin = folder / ORIGIN_FILE
    try:
        known = json.loads(origin.read_text(encoding="utf-8")) if origin.is_file() else {}
        digest = known["sha256"] if "sha256" in known and not _weight_files(folder) else weights_sha256(folder)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"INFERENCE_MODEL={folder} can't be read ({error}); make it readable") from error
    return ModelChoice(known.get("name", str(folder)), known.get("source", "folder"), folder, digest)


def _named(name: str) -> ModelChoice:
    if name.startswith((".", "/", "~")):
        raise ModelUnavailable(f"INFERENCE_MODEL={name}: there is no such folder, or this user may not look into it")
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
    """Whether the model is in the hub's cache. If the weights are there, all else is: they are the longest file."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415

    try:
        return all(isinstance(try_to_load_from_cache(name, file), str) for file in ("config.json", "model.safetensors"))
    except HFValidationError:
        return False


def _why_hub_does_not_answer(name: str) -> str | None:
    """Why the hub does not answer within QUICK_LOOK_S, whatever the network does; None if it answers."""
    from huggingface_hub import HfApi  # noqa: PLC0415
    from huggingface_hub.errors import OfflineModeIsEnabled  # noqa: PLC0415

    answers: list[str | None] = []

    def look() -> None:
        try:
            HfApi().model_info(name, timeout=QUICK_LOOK_S)
            answers.append(None)
        except OfflineModeIsEnabled:
            answers.append("HF_HUB_OFFLINE is set")
        except Exception as error:  # whatever it is, it is the reason to report
            answers.append(_first_line(error))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(QUICK_LOOK_S)
    return answers[0] if answers else f"the hub did not answer within {QUICK_LOOK_S:g} s"


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weight files in a model's folder, in the order of their names.

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
    """Write to ``folder`` where the model that was copied there came from, and the digest of its weights.

    The image that serves with the ONNX engine does not hold the weights themselves.
    """
    origin = {key: value for key, value in asdict(choice).items() if key != "path"}
    (folder / ORIGIN_FILE).write_text(json.dumps(origin) + "\n", encoding="utf-8")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
