"""The ONNX engine against transformers' own model, and the bar that it has to pass."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from inference.engines import export
from inference.engines.agreement import compare, harder_texts, review_texts
from inference.engines.choice import open_engine
from inference.engines.engine import EngineUnavailable
from inference.engines.onnx_engine import ELSEWHERE, FACTS_FILE, GRAPH_FILE, TOKENIZER_FILE, OnnxEngine, packed
from inference.engines.packed_graph import LARGEST_WEIGHT, LINEARS, _Graph, write_graph
from inference.model_choice import BUNDLED_MODEL, ModelChoice, weights_sha256

torch = pytest.importorskip("torch", reason="the reference runs on torch")
transformers = pytest.importorskip("transformers", reason="the reference is transformers' model")

TEXTS = ["Not bad at all.", "The food was awful, and cold.", "x", "wonderful " * 40, "word " * 600]


def choice(folder: Path) -> ModelChoice:
    return ModelChoice(str(folder), "folder", folder, weights_sha256(folder))


def small_checkpoint(folder: Path, kind: str) -> Path:
    """Three blocks of random weights, with the bundled model's tokenizer."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 3203, "num_labels": 3}
    if kind == "DistilBert":
        config = transformers.DistilBertConfig(dim=48, hidden_dim=96, n_layers=3, n_heads=4, **sizes)
    else:
        depth = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
        config = getattr(transformers, f"{kind}Config")(**depth, **sizes)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.add_(torch.randn_like(weight) * (0.3 if "classifier" in name else 0.05))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUNDLED_MODEL / name, folder / name)
    return folder


def engine_of(folder: Path, checkpoint: Path, in_fp32: tuple[str, ...]) -> OnnxEngine:
    config = json.loads((checkpoint / "config.json").read_text())
    write_graph(config, export._weights(checkpoint), folder / GRAPH_FILE, in_fp32)
    shutil.copy(checkpoint / "tokenizer.json", folder / TOKENIZER_FILE)
    (folder / FACTS_FILE).write_text(json.dumps({"labels": ["a", "b", "c"], "max_tokens": 512, "weights": "?"}))
    return OnnxEngine(folder, 2)


def reference(checkpoint: Path, texts: list[str]) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    with torch.inference_mode():
        rows = [model(**tokenizer(text, truncation=True, return_tensors="pt")).logits[0].softmax(-1) for text in texts]
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("kind", ["DistilBert", "Bert"])
def test_the_packed_graph_computes_what_transformers_computes(tmp_path: Path, kind: str) -> None:
    checkpoint = small_checkpoint(tmp_path / "checkpoint", kind)
    (tmp_path / "engine").mkdir()
    engine = engine_of(tmp_path / "engine", checkpoint, LINEARS)
    expected = reference(checkpoint, TEXTS)
    assert np.ptp(expected, axis=0).max() > 0.02  # not all the same
    np.testing.assert_allclose(engine.probabilities(TEXTS), expected, atol=2e-5)
    for alone in (True, False):
        labels = engine.classify(TEXTS, alone=alone)
        assert [label.sentiment for label in labels] == ["abc"[best] for best in expected.argmax(axis=1)]
        assert [label.truncated_to for label in labels] == [None, None, None, None, 512]
        assert [label.score for label in labels] == pytest.approx(expected.max(axis=1).tolist(), abs=2e-5)


def test_eight_bits_come_near_it(tmp_path: Path) -> None:
    checkpoint = small_checkpoint(tmp_path / "checkpoint", "DistilBert")
    (tmp_path / "engine").mkdir()
    engine = engine_of(tmp_path / "engine", checkpoint, ())
    difference = np.abs(engine.probabilities(TEXTS) - reference(checkpoint, TEXTS))
    assert 1e-6 < difference.max() < 0.05


def test_sums_of_the_largest_numbers_are_exact_on_every_processor() -> None:
    # Weights of all eight bits would cut these sums to a half without VNNI, but not with it: hence the bound too.
    assert np.iinfo(np.int16).max >= 2 * 255 * LARGEST_WEIGHT
    graph = _Graph(())
    x, weight = np.ones((6, 64), np.float32), np.ones((16, 64), np.float32)
    weight[8:] = -1
    graph.linear("ffn_in", "bias", weight, np.zeros(16, np.float32))
    finished = graph.finished()
    finished.input[-1].type.tensor_type.shape.CopyFrom(onnx.helper.make_tensor_type_proto(1, x.shape).tensor_type.shape)
    domains = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(finished, opset_imports=domains, ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    unused = {name: np.zeros(1, np.int64) for name in ("ids", "positions", "first")}
    np.testing.assert_allclose(session.run(None, {"bias": x, **unused})[0], x @ weight.T, rtol=1e-5)


def test_a_batch_is_laid_end_to_end() -> None:
    found = {name: value.tolist() for name, value in packed([[7, 8, 9], [5]]).items()}
    away = float(ELSEWHERE)
    assert found == {
        "ids": [7, 8, 9, 5],
        "positions": [0, 1, 2, 0],
        "first": [0, 3],
        "bias": [[[0, 0, 0, away], [0, 0, 0, away], [0, 0, 0, away], [away, away, away, 0]]],
    }


def test_the_bundled_model_is_exported_and_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "fourfold" / "engines" / "making-of-one-that-was-killed").mkdir(parents=True)
    folder = export.exported(choice(BUNDLED_MODEL))
    assert folder.is_relative_to(tmp_path)
    # An image holds a copy, and its user is not root.
    assert {path.stat().st_mode & 0o444 for path in (folder, *folder.iterdir())} == {0o444}
    agreement = export.agreement_of(folder)
    assert agreement["reviews"]["texts"] == 160
    assert agreement["reviews"]["same_label"] + agreement["reviews"]["excused"] == 160
    assert agreement["harder"]["same_label"] >= 1980
    assert agreement["harder"]["mean_difference"] <= 0.01
    written = (folder / FACTS_FILE).stat().st_mtime_ns
    assert export.exported(choice(BUNDLED_MODEL)) == folder
    assert (folder / FACTS_FILE).stat().st_mtime_ns == written
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    facts = json.loads((folder / FACTS_FILE).read_text())
    for check in facts["checks"]:
        check["scores"].reverse()
    (folder / FACTS_FILE).write_text(json.dumps(facts))
    with pytest.raises(EngineUnavailable, match="on this processor the exported model's scores differ"):
        open_engine("onnx", "cpu", choice(BUNDLED_MODEL))
    engine, told = open_engine("auto", "cpu", choice(BUNDLED_MODEL))
    engine.close()
    assert told["name"] == "torch"
    assert "on this processor" in told["why_not_faster"]


def test_what_a_killed_export_left_is_removed_once_its_process_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = choice(BUNDLED_MODEL)
    left = tmp_path / "fourfold" / "engines" / "making-left"
    left.mkdir(parents=True)
    (left / GRAPH_FILE).touch()
    orphans = []

    def be_killed(command: list[str], *, pass_fds: list[int], **_: Any) -> None:
        """The export's own process goes on after its parent was killed."""
        orphans.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=pass_fds))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", be_killed)
        with pytest.raises(KeyboardInterrupt):
            export.exported(model)
    whole = export._cached(model)
    assert whole is not None
    whole.mkdir()
    (whole / FACTS_FILE).write_text(json.dumps({"form": export.FORM, "sha256": model.sha256}))
    assert export.exported(model) == whole
    assert left.exists()
    orphans[0].kill()
    orphans[0].wait()
    assert export.exported(model) == whole
    assert [path.name for path in whole.parent.iterdir()] == [whole.name]


def test_another_architecture_is_served_by_torch_and_the_reason_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = choice(small_checkpoint(tmp_path / "checkpoint", "Electra"))
    engine, told = open_engine("auto", "cpu", model)
    engine.close()
    assert (told["name"], told["device"], told["weights"]) == ("torch", "cpu", "fp32")
    assert "not ElectraForSequenceClassification" in told["why_not_faster"]
    with pytest.raises(EngineUnavailable, match="INFERENCE_ENGINE=onnx: the packed graph knows"):
        open_engine("onnx", "cpu", model)


def test_agreement_counts_labels_borders_and_differences() -> None:
    ours = np.array([[0.9, 0.1], [0.6, 0.4], [0.49, 0.51], [0.3, 0.7]], dtype=np.float32)
    theirs = np.array([[0.9, 0.1], [0.4, 0.6], [0.51, 0.49], [0.3, 0.7]], dtype=np.float32)
    found = compare(theirs, ours)
    assert (found.texts, found.same_label, found.excused) == (4, 2, 1)
    assert found.mean_difference == pytest.approx(0.055)
    assert found.largest_difference == pytest.approx(0.2)
    assert found.why_not(each=True) == "the same label on 2 of 4 texts, 1 others at the border"


@pytest.mark.parametrize(
    ("wrong", "shift", "each", "passes"),
    [(0, 0, True, True), (1, 0, True, False), (2, 0, False, True), (3, 0, False, False), (0, 0.02, False, False)],
)
def test_the_bar(wrong: int, shift: float, each: bool, passes: bool) -> None:
    theirs = np.tile(np.array([0.8, 0.2]), (200, 1))
    ours = theirs + np.array([-shift, shift])
    ours[:wrong] = [0.49, 0.51]
    assert (compare(theirs, ours).why_not(each=each) is None) is passes


def test_the_texts_of_the_bar_are_many_different_and_reproducible() -> None:
    assert len(review_texts()) == 160
    texts = harder_texts()
    assert texts == harder_texts()
    assert len(set(texts)) == 2000
    assert max(len(text) for text in texts) > 800
