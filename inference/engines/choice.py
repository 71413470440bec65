"""Which engine serves: the fastest that agrees with the reference, or the one that was asked for."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inference.engines import export
from inference.engines.engine import Engine, EngineUnavailable
from inference.engines.onnx_engine import OnnxEngine
from inference.engines.processors import compute_threads
from inference.model_choice import ModelChoice

ENGINES = ("auto", "onnx", "torch")
DEVICES = ("auto", "cpu", "cuda")

GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""Linux's and WSL's sign of a GPU; to ask torch costs seconds, and it may not be installed."""


def wanted_engine() -> str:
    """What ``INFERENCE_ENGINE`` asks for.

    Raises:
        ValueError: there is no such engine.
    """
    return _one_of("INFERENCE_ENGINE", ENGINES)


def wanted_device() -> str:
    """What ``INFERENCE_DEVICE`` asks for.

    Raises:
        ValueError: there is no such device.
    """
    return _one_of("INFERENCE_DEVICE", DEVICES)


def open_engine(wanted: str, device: str, model: ModelChoice) -> tuple[Engine, dict[str, Any]]:
    """The engine, loaded, and what is to be known of it.

    Raises:
        EngineUnavailable: the one that was asked for can't serve this model here, or none can.
        ModelUnavailable: the model's files can't be loaded.
    """
    threads = compute_threads()
    if device == "cuda" or (device == "auto" and wanted != "onnx" and any(file.exists() for file in GPU_FILES)):
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
    """An engine for the record of a run."""
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
    from inference.engines.torch_engine import TorchEngine  # noqa: PLC0415  not in the image that serves

    engine = TorchEngine(model.path, device, threads)
    return engine, facts_of(engine, why_not_faster)


def _has_torch() -> bool:
    return all(find_spec(name) is not None for name in ("torch", "transformers"))


def _why_no_gpu(wanted: str) -> str | None:
    if wanted == "onnx":
        return "the ONNX engine computes on the processor"
    if not _has_torch():
        return "a GPU is used by the torch engine, which is not installed; install inference/requirements.txt"
    import torch  # noqa: PLC0415  seconds, where there is no GPU

    return None if torch.cuda.is_available() else "torch finds no GPU that it can use"


def _one_of(name: str, known: tuple[str, ...]) -> str:
    value = os.environ.get(name) or known[0]
    if value not in known:
        raise ValueError(f"{name}={value} is none of {', '.join(known)}")
    return value
