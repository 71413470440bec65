"""Exports a checkpoint for the ONNX engine, and compares the result with the reference.

The result is a folder: the graph, its weights, the tokenizer, and ``engine.json``, which says what was compared with
what result. ``inference.fetch`` puts it into the model's own folder; otherwise it is in the user's cache, under the
digest of the checkpoint. Only the export itself needs torch and onnx. It runs in a process of its own,
``python -m inference.engines.export``.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from os.path import isfile
from pathlib import Path
from typing import Any

from inference.configuration import XDG_CACHE_HOME
from inference.engines.agreement import Agreement, Scores, compare, harder_texts, review_texts
from inference.engines.engine import EngineUnavailable
from inference.engines.onnx_engine import FACTS_FILE, GRAPH_FILE, TOKENIZER_FILE, OnnxEngine
from inference.engines.processors import compute_threads
from inference.model_choice import ModelChoice, ModelUnavailable, missing_exporter

FORM = 3
"""The form of the exported folder and of the comparison. It goes up when either changes: no old folder is used then."""

MAKING = "making-"
"""How the name of a folder in the cache begins that is not whole yet."""

EXPORTED = "onnx_engine"
"""The exported folder within the model's folder, if ``inference.fetch`` put it there."""

SHIPPED = Path(__file__).parents[1] / "bundled_export"
"""The bundled model, exported: for a Python without the packages that export it."""

CHECKS = 16
"""How many texts are kept with their scores. They are computed again at each start, to check this processor."""

MOST_CHECK_DIFFERENCE = 0.02

RECIPES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("int8", ()),
    ("int8, ffn_out in fp32", ("ffn_out",)),
    ("fp32", ("qkv", "attention_out", "ffn_in", "ffn_out")),
)
"""Names of forms with the layers that stay in fp32, the fastest form first. The last layer of each of BERT's blocks has
the widest range of activations, and so loses the most accuracy with eight bits."""

Compared = tuple[list[str], Scores]
"""Texts, and the probabilities that the reference computed for them."""


def exported(model: ModelChoice) -> Path:
    """The folder that the ONNX engine loads for ``model``. It is exported now if it was not before.

    Raises:
        EngineUnavailable: the ONNX engine can't serve this model, or does not agree with the reference.
    """
    folder = _found(model)
    if folder is None:
        missing = missing_exporter()
        if missing and _fits(SHIPPED, model):
            return SHIPPED
        if missing:
            raise EngineUnavailable(
                f"{model.name} has not been exported, and {', '.join(missing)} to export it is not installed; "
                "install inference/requirements.txt"
            )
        folder = _export_to_cache(model)
    _remove_left(model)
    refused = _facts(folder).get("refused")
    if refused:
        raise EngineUnavailable(str(refused))
    return folder


def check_processor(engine: OnnxEngine, folder: Path) -> None:
    """Compute a few texts again. Another processor than the exporting one may multiply 8-bit numbers in another way.

    Raises:
        EngineUnavailable: on this processor the results differ too much from the reference.
    """
    checks = _facts(folder)["checks"]
    found = engine.probabilities([check["text"] for check in checks])
    differences = [
        max(abs(a - b) for a, b in zip(row, check["scores"], strict=True))
        for row, check in zip(found.tolist(), checks, strict=True)
    ]
    mean = sum(differences) / len(differences)
    if mean > MOST_CHECK_DIFFERENCE:
        raise EngineUnavailable(
            f"on this processor the exported model's scores differ from the reference's by {mean:.3f} on average"
        )


def agreement_of(folder: Path) -> dict[str, Any]:
    """The result of the comparison when the model was exported."""
    return dict(_facts(folder)["agreement"])


def _found(model: ModelChoice) -> Path | None:
    for folder in (model.path / EXPORTED, _cached(model)):
        if folder is not None and _fits(folder, model):
            return folder
    return None


def _fits(folder: Path, model: ModelChoice) -> bool:
    """Whether a folder holds the export of this checkpoint, in this form."""
    if not isfile(folder / FACTS_FILE):  # Path.is_file raises where this user may not look
        return False
    facts = _facts(folder)
    return (facts.get("form"), facts.get("sha256")) == (FORM, model.sha256)


def _facts(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / FACTS_FILE).read_text(encoding="utf-8")))


def _cached(model: ModelChoice) -> Path | None:
    """Where in the cache the export of this checkpoint is or will be; None if the user has no home directory."""
    root = XDG_CACHE_HOME.read()
    if root is None:
        return None
    digest = hashlib.sha256(f"{FORM} {model.sha256}".encode())
    for file in sorted(model.path.glob("*.json")) + sorted(model.path.glob("*.txt")):
        digest.update(file.name.encode() + file.read_bytes())
    return root / "fourfold" / "engines" / digest.hexdigest()[:32]


def _export_to_cache(model: ModelChoice) -> Path:
    target = _cached(model)
    if target is None:
        raise EngineUnavailable("there is no home directory to keep the exported model in; set XDG_CACHE_HOME")
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(_kept(target.parent))
            making = Path(tempfile.mkdtemp(prefix=MAKING, dir=target.parent))
        except OSError as error:
            raise EngineUnavailable(
                f"the exported model can't be kept in {target.parent} ({error.strerror}); set XDG_CACHE_HOME"
            ) from error
        _make(model, making, target, lock)
    return target


def _make(model: ModelChoice, making: Path, target: Path, lock: int) -> None:
    """Export to the folder ``making``, and give it the name ``target`` once it is whole."""
    # In a process of its own: the memory that torch takes, and what it changes in a process, end with it.
    command = [sys.executable, "-m", "inference.engines.export", str(model.path), model.name, model.sha256, str(making)]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=False, pass_fds=[lock]
        )
        if done.returncode != 0:
            raise EngineUnavailable(done.stdout.strip() or f"the export ended with exit code {done.returncode}")
        making.chmod(0o755)  # an image holds a copy, and its user is not root
        for file in making.iterdir():
            file.chmod(0o644)
        try:
            making.rename(target)
        except OSError:
            if not (target / FACTS_FILE).is_file():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)  # does nothing after the rename


@contextmanager
def _kept(folder: Path) -> Iterator[int]:
    """Keep ``_remove_left`` away from a folder until the block, and each process that got the descriptor, has ended."""
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # file systems that have no such locks
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield lock
    finally:
        os.close(lock)


def _remove_left(model: ModelChoice) -> None:
    """Remove from the cache what killed exports left. If an export runs now, that is left to a later start."""
    target = _cached(model)
    if target is None or not any(target.parent.glob(f"{MAKING}*")):
        return
    with suppress(OSError):
        lock = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in target.parent.glob(f"{MAKING}*"):
                shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(lock)


def export(model: ModelChoice, folder: Path) -> None:
    """Write to ``folder`` the fastest form of ``model`` that agrees with the reference, or why there is none."""
    began_at_s = time.monotonic()
    facts: dict[str, Any] = {"form": FORM, "sha256": model.sha256}
    try:
        _export(model, folder, facts)
    except EngineUnavailable as error:
        _write(folder, facts | {"refused": str(error)})
    to_stderr(f"done in {time.monotonic() - began_at_s:.0f} s")


def _export(model: ModelChoice, folder: Path, facts: dict[str, Any]) -> None:
    from inference.engines.packed_graph import why_not  # noqa: PLC0415  only an export needs onnx

    config = json.loads((model.path / "config.json").read_text(encoding="utf-8"))
    if reason := why_not(config):
        raise EngineUnavailable(reason)
    to_stderr(f"exporting {model.name} for the ONNX engine ...")
    compared, of_reference = _compute_reference(model, folder)
    _write_first_that_agrees(folder, config, _weights(model.path), compared, facts | of_reference)


def _compute_reference(model: ModelChoice, folder: Path) -> tuple[list[Compared], dict[str, Any]]:
    """The texts with the probabilities that the reference computes, and what is written down about the reference.

    Writes the tokenizer to ``folder``.

    Raises:
        EngineUnavailable: the ONNX engine can't use its tokenizer.
    """
    from inference.engines.torch_engine import TorchEngine  # noqa: PLC0415  only an export needs torch

    reference = TorchEngine(model.path, "cpu", compute_threads())
    try:
        tokenizer = getattr(reference.tokenizer, "backend_tokenizer", None)
        if tokenizer is None:
            raise EngineUnavailable("its tokenizer is not one of the tokenizers library")
        tokenizer.save(str(folder / TOKENIZER_FILE))
        reviews, harder = review_texts(), harder_texts()
        to_stderr(f"computing {len(reviews)} + {len(harder)} texts with the reference ...")
        compared = [(texts, reference.probabilities(texts)) for texts in (reviews, harder)]
        scores = compared[0][1][:CHECKS].tolist()
        checks = [{"text": text, "scores": row} for text, row in zip(reviews[:CHECKS], scores, strict=True)]
        return compared, {"labels": reference.labels, "max_tokens": reference.max_tokens, "checks": checks}
    finally:
        reference.close()


def _write_first_that_agrees(
    folder: Path, config: dict[str, Any], weights: dict[str, Any], compared: list[Compared], facts: dict[str, Any]
) -> None:
    """Write the graph by the first of RECIPES that agrees with the reference, and ``facts`` with how far it does.

    Raises:
        EngineUnavailable: none agrees.
    """
    from inference.engines.packed_graph import write_graph  # noqa: PLC0415  only an export needs onnx

    refused: list[str] = []
    for name, in_fp32 in RECIPES:
        write_graph(config, weights, folder / GRAPH_FILE, in_fp32)
        _write(folder, facts | {"weights": name})
        engine = OnnxEngine(folder, compute_threads())
        reviews, harder = (compare(expected, engine.probabilities(texts)) for texts, expected in compared)
        short = reviews.why_not(each=True) or harder.why_not(each=False)
        to_stderr(f"{name}: {_told([reviews, harder])}: {'refused, ' + short if short else 'accepted'}")
        if short is None:
            agreement = {"reviews": reviews.record(), "harder": harder.record(), "refused_before": refused}
            _write(folder, facts | {"agreement": agreement, "weights": name})
            return
        refused.append(f"{name}: {short}")
    raise EngineUnavailable(f"no exported form agrees with the reference ({'; '.join(refused)})")


def _told(found: list[Agreement]) -> str:
    return ", ".join(
        f"same label on {agreement.same_label} of {agreement.texts} texts, "
        f"mean difference {agreement.mean_difference:.4f}"
        for agreement in found
    )


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file  # noqa: PLC0415  numpy has no bfloat16

    found: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= {name: tensor.float().numpy() for name, tensor in load_file(file).items()}
    return found


def _write(folder: Path, facts: dict[str, Any]) -> None:
    (folder / FACTS_FILE).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    path, name, sha256, folder = sys.argv[1:]
    try:
        export(ModelChoice(name, "folder", Path(path), sha256), Path(folder))
    except (ModelUnavailable, FileNotFoundError) as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
