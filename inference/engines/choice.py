"""Which inference engine serves: the fastest one that agrees with the reference, or the one that the user asks for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inference.configuration import AUTO
from inference.engines import export
from inference.engines.engine import Engine, EngineUnavailable
from inference.engines.onnx_engine import OnnxEngine
from inference.engines.processors import compute_threads
from inference.model_choice import ModelChoice

GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""Linux and WSL have one of these files if there is a GPU. Asking torch takes seconds, and it may not be installed."""


def open_engine(wanted: str, device: str, model: ModelChoice) -> tuple[Engine, dict[str, Any]]:
    """The inference engine, loaded, and the facts about it that ``/health`` tells.

    ``wanted`` and ``device`` are the values of INFERENCE_ENGINE and INFERENCE_DEVICE.

    Raises:
        EngineUnavailable: the wanted inference engine can't serve this model here; with ``auto``: none can.
        ModelUnavailable: the model's files can't be loaded.
    """
    threads = compute_threads()
    if device == "cuda" or (device == AUTO and wanted != "onnx" and any(file.exists() for file in GPU_FILES)):
        reason = _why_no_gpu(wanted)
        if reason is None:
            return _torch(model, "cuda", threads, None)
        if device == "cuda":
            raise EngineUnavailable(f"INFERENCE_DEVICE=cuda: {reason}")
    if wanted == "torch":
        return _torch(model, "cpu", threads, "INFERENCE_ENGINE=torch")
    try:
        folder = export.exported(model)
        engine = OnnxEngine(folder, threads)
        export.check_processor(engine, folder)
    except EngineUnavailable as error:
        if wanted == "onnx":
            raise EngineUnavailable(f"INFERENCE_ENGINE=onnx: {error}") from error
        if not _has_torch():
            raise EngineUnavailable(
                f"{error}, and the torch engine is not installed; install inference/requirements.txt, "
                "or build the image with --target torch"
            ) from error
        return _torch(model, "cpu", threads, str(error))
    return engine, facts_of(engine, None) | {"agreement": export.agreement_of(folder)}


def facts_of(engine: Engine, why_not_faster: str | None) -> dict[str, Any]:
    """The facts about an inference engine that the record of a run holds."""
    return {
        "name": engine.name,
        "device": engine.device,
        "threads": engine.threads,
        "weights": engine.weights,
        "why_not_faster": why_not_faster,
    }


def _torch(model: ModelChoice, device: str, threads: int, why_not_faster: str | None) -> tuple[Engine, dict[str, Any]]:
    if not _has_torch():
        raise EngineUnavailable(
            "the torch engine is not installed; install inference/requirements.txt, or build the image "
            "with --target torch"
        )
    from inference.engines.torch_engine import TorchEngine  # noqa: PLC0415  the image has no torch

    engine = TorchEngine(model.path, device, threads)
    return engine, facts_of(engine, why_not_faster)


def _has_torch() -> bool:
    return all(find_spec(name) is not None for name in ("torch", "transformers"))


def _why_no_gpu(wanted: str) -> str | None:
    if wanted == "onnx":
        return "the ONNX engine computes on the processor"
    if not _has_torch():
        return "a GPU is used by the torch engine, which is not installed; install inference/requirements.txt"
    import torch  # noqa: PLC0415  this takes seconds

    return None if torch.cuda.is_available() else "torch finds no GPU that it can use"
