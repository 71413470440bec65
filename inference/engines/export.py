"""From a checkpoint to what the ONNX engine loads, held to the bar of agreement with the reference.

The result is a folder: the graph, its weights, the tokenizer, and ``engine.json``, which says what was compared and how
it came out. It lies in the model's own folder, where ``inference.fetch`` put it there, else in the user's cache, by the
digest of the checkpoint. This module itself needs neither torch nor onnx, until there is something to export; then it
runs itself, as ``python -m inference.export``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inference.engines.engine import EngineUnavailable
from inference.engines.onnx_engine import FACTS_FILE, GRAPH_FILE, TOKENIZER_FILE, OnnxEngine
from inference.engines.processors import compute_threads
from inference.model_choice import ModelChoice, ModelUnavailable

FORM = 3
"""Of the exported folder and of the bar that it passed; raised when either changes, so that none is reused wrongly."""

EXPORTED = "onnx_engine"
"""Beside the model's files, where the export came with them."""

CHECKS = 16
"""Texts whose scores are kept, to be computed again wherever the engine starts."""

MOST_CHECK_DIFFERENCE = 0.02

RECIPES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("int8", ()),
    ("int8, ffn_out in fp32", ("ffn_out",)),
    ("fp32", ("qkv", "attention_out", "ffn_in", "ffn_out")),
)
"""Which layers stay in fp32, the fastest first. Of BERT's layers the last of each block has activations of the widest
range, and so loses the most to eight bits."""


def exported(model: ModelChoice) -> Path:
    """The folder with what the ONNX engine loads of ``model``, made now if it is not there yet.

    Raises:
        EngineUnavailable: there is no such engine for this model, or it does not agree with the reference.
    """
    folder = _found(model)
    if folder is None:
        missing = [name for name in ("torch", "transformers", "onnx", "safetensors") if find_spec(name) is None]
        if missing:
            raise EngineUnavailable(
                f"{model.name} has not been exported, and {', '.join(missing)} to export it is not installed; "
                "install inference/requirements.txt"
            )
        folder = _export_to_cache(model)
    refused = _facts(folder).get("refused")
    if refused:
        raise EngineUnavailable(str(refused))
    return folder


def check_processor(engine: OnnxEngine, folder: Path) -> None:
    """Compute a few texts again: what multiplies 8-bit numbers here may be other code than where it was exported.

    Raises:
        EngineUnavailable: on this processor the engine is not the one that was compared with the reference.
    """
    checks = _facts(folder)["checks"]
    found = engine.probabilities([one["text"] for one in checks])
    differences = [
        max(abs(a - b) for a, b in zip(row, one["scores"], strict=True))
        for row, one in zip(found.tolist(), checks, strict=True)
    ]
    mean = sum(differences) / len(differences)
    if mean > MOST_CHECK_DIFFERENCE:
        raise EngineUnavailable(
            f"on this processor the exported model's scores differ from the reference's by {mean:.3f} on average"
        )


def agreement_of(folder: Path) -> dict[str, Any]:
    """What was compared when the model was exported."""
    return dict(_facts(folder)["agreement"])


def _found(model: ModelChoice) -> Path | None:
    for folder in (model.path / EXPORTED, _cached(model)):
        if folder is not None and (folder / FACTS_FILE).is_file():
            facts = _facts(folder)
            if facts.get("form") == FORM and facts.get("sha256") == model.sha256:
                return folder
    return None


def _facts(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / FACTS_FILE).read_text(encoding="utf-8")))


def _cached(model: ModelChoice) -> Path | None:
    """Where the cache has, or will have, the export of this checkpoint: weights, configuration and tokenizer."""
    digest = hashlib.sha256(f"{FORM} {model.sha256}".encode())
    for file in sorted(model.path.glob("*.json")) + sorted(model.path.glob("*.txt")):
        digest.update(file.name.encode() + file.read_bytes())
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None  # no home
    return root / "fourfold" / "engines" / digest.hexdigest()[:32]


def _export_to_cache(model: ModelChoice) -> Path:
    target = _cached(model)
    if target is None:
        raise EngineUnavailable("there is no home directory to keep the exported model in; set XDG_CACHE_HOME")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=target.parent))
    except OSError as error:
        raise EngineUnavailable(
            f"the exported model can't be kept in {target.parent} ({error.strerror}); set XDG_CACHE_HOME"
        ) from error
    # In a process of its own: what torch takes of memory, and what it changes in a process, ends with it.
    command = [sys.executable, "-m", "inference.engines.export", str(model.path), model.name, model.sha256, str(making)]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise EngineUnavailable(done.stdout.strip() or f"the export ended with exit code {done.returncode}")
        making.chmod(0o755)  # an image holds a copy, which another user than root reads
        for file in making.iterdir():
            file.chmod(0o644)
        try:
            making.rename(target)
        except OSError:
            if not (target / FACTS_FILE).is_file():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)  # nothing is left there once it has been renamed
    return target


def export(model: ModelChoice, folder: Path) -> None:
    """Write to ``folder`` the fastest form of ``model`` that agrees with the reference, or why there is none."""
    from inference.engines import agreement, packed_graph  # noqa: PLC0415  onnx is needed here alone
    from inference.engines.torch_engine import TorchEngine  # noqa: PLC0415

    began_at_s = time.monotonic()
    threads = compute_threads()
    config = json.loads((model.path / "config.json").read_text(encoding="utf-8"))
    facts: dict[str, Any] = {"form": FORM, "sha256": model.sha256}
    reason = packed_graph.why_not(config)
    if reason is None:
        to_stderr(f"exporting {model.name} for the ONNX engine ...")
        reference = TorchEngine(model.path, "cpu", threads)
        try:
            backend = getattr(reference.tokenizer, "backend_tokenizer", None)
            if backend is None:
                reason = "its tokenizer is not one of the tokenizers library"
            else:
                backend.save(str(folder / TOKENIZER_FILE))
                facts |= {"labels": reference.labels, "max_tokens": reference.max_tokens}
                reviews, harder = agreement.review_texts(), agreement.harder_texts()
                to_stderr(f"computing {len(reviews)} + {len(harder)} texts with the reference ...")
                expected = reference.probabilities(reviews), reference.probabilities(harder)
                facts["checks"] = [
                    {"text": text, "scores": scores}
                    for text, scores in zip(reviews[:CHECKS], expected[0][:CHECKS].tolist(), strict=True)
                ]
        finally:
            reference.close()
    refused: list[str] = []
    if reason is None:
        weights = _weights(model.path)
        for name, in_fp32 in RECIPES:
            packed_graph.write_graph(config, weights, folder / GRAPH_FILE, in_fp32)
            _write(folder, facts | {"weights": name})
            engine = OnnxEngine(folder, threads)
            found = [
                agreement.compare(a, engine.probabilities(b)) for a, b in zip(expected, (reviews, harder), strict=True)
            ]
            short = found[0].why_not(each=True) or found[1].why_not(each=False)
            to_stderr(f"{name}: {_told(found)}: {'refused, ' + short if short else 'accepted'}")
            facts["agreement"] = {
                "reviews": found[0].record(),
                "harder": found[1].record(),
                "refused_before": list(refused),
            }
            if short is None:
                _write(folder, facts | {"weights": name})
                break
            refused.append(f"{name}: {short}")
        else:
            reason = f"no exported form agrees with the reference ({'; '.join(refused)})"
    if reason is not None:
        _write(folder, {"form": FORM, "sha256": model.sha256, "refused": reason})
    to_stderr(f"done in {time.monotonic() - began_at_s:.0f} s")


def _told(found: list[Any]) -> str:
    return ", ".join(
        f"same label on {one.same_label} of {one.texts} texts, mean difference {one.mean_difference:.4f}"
        for one in found
    )


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file  # noqa: PLC0415  numpy alone has no bfloat16

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
