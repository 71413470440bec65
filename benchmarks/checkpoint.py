"""Makes a checkpoint of DistilBERT's real shape, for machines without the real one: 66 million seeded random weights.

transformers draws all weights. With random weights all texts get nearly the same score, but the scores of the real
checkpoint spread from 0 to 1. So the last layer is replaced: it looks along the direction in which 320 training
sentences differ most, scaled so that the difference of the two logits has a standard deviation of 3 and half the
sentences are positive. The tokenizer is the bundled model's. The labels mean nothing: the benchmarks measure time, and
whether two inference engines agree.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.needs import require, run, why_no_packages, why_no_space
from inference.model_choice import BUNDLED_MODEL

CHECKPOINT_BYTES = 300_000_000
SENTENCES = BUNDLED_MODEL.parent / "training" / "training_sentences.csv"
SPREAD = 3.0
SEED = 0


def make_checkpoint(folder: Path) -> None:
    """Write the checkpoint to ``folder``."""
    import torch
    from transformers import (
        AutoTokenizer,
        DistilBertConfig,
        DistilBertForSequenceClassification,
    )

    torch.manual_seed(SEED)
    labels = {0: "NEGATIVE", 1: "POSITIVE"}
    config = DistilBertConfig(id2label=labels, label2id={name: number for number, name in labels.items()})
    model = DistilBertForSequenceClassification(config).eval()
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_MODEL)
    seen: list[Any] = []
    model.classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][:320]
    with torch.inference_mode():
        for at in range(0, len(texts), 32):
            model(**tokenizer(texts[at : at + 32], padding=True, return_tensors="pt"))
        features = torch.cat(seen)
        direction = torch.linalg.svd(features - features.mean(0), full_matrices=False)[2][0]
        along = features @ direction
        scale = SPREAD / along.std() / 2
        model.classifier.weight.copy_(torch.stack([-direction, direction]) * scale)
        model.classifier.bias.copy_(torch.stack([along.median(), -along.median()]) * scale)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUNDLED_MODEL / name, folder / name)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpoint", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder to write the checkpoint to")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    require(why_no_packages("torch", "transformers"), why_no_space(folder, CHECKPOINT_BYTES))
    make_checkpoint(folder)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
