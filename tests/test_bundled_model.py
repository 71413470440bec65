"""The bundled model is small, can be loaded like any other model, and is right often enough."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the bundled model runs on torch")
transformers = pytest.importorskip("transformers", reason="the bundled model is loaded by transformers")

from inference.training.grammar import Sentence, normalized  # noqa: E402  only where torch is installed
from inference.training.train import (  # noqa: E402
    BUNDLED_MODEL,
    LEAST_TEST_ACCURACY,
    TEST_FILE,
    predict,
    read_sentences,
    refuse_overlap,
    train_tokenizer,
    training_data,
)

MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def test_sentences() -> list[Sentence]:
    return read_sentences(TEST_FILE)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(BUNDLED_MODEL)


@pytest.fixture(scope="module")
def model() -> Any:
    return transformers.AutoModelForSequenceClassification.from_pretrained(BUNDLED_MODEL).eval()


def test_the_test_sentences_are_50_positive_and_50_negative_ones(test_sentences: list[Sentence]) -> None:
    assert Counter(sentence.is_positive for sentence in test_sentences) == {True: 50, False: 50}
    assert len({normalized(sentence.text) for sentence in test_sentences}) == 100


def test_at_least_85_of_100_test_sentences_are_labelled_rightly(
    model: Any, tokenizer: Any, test_sentences: list[Sentence]
) -> None:
    found = predict(model, tokenizer, [sentence.text for sentence in test_sentences])
    right = sum(a == b.is_positive for a, b in zip(found, test_sentences, strict=True))
    assert right >= LEAST_TEST_ACCURACY


def test_no_test_sentence_is_learned_from(test_sentences: list[Sentence]) -> None:
    data = training_data()  # raises an error if one is
    learned = {normalized(sentence.text) for sentence in data.training + data.written_for_validation}
    assert learned.isdisjoint(normalized(sentence.text) for sentence in test_sentences)


def test_training_on_a_test_sentence_is_refused_whatever_its_spelling(test_sentences: list[Sentence]) -> None:
    shouted = Sentence(test_sentences[0].text.upper() + "!!", True)
    with pytest.raises(ValueError, match="1 test sentences are in the training data"):
        refuse_overlap([Sentence("Something else.", True), shouted], test_sentences)


def test_the_folder_is_small_and_holds_safetensors() -> None:
    files = list(BUNDLED_MODEL.iterdir())
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= {f.name for f in files}


def test_the_files_name_no_place_of_the_machine_that_wrote_them() -> None:
    for file in BUNDLED_MODEL.glob("*.json"):
        assert str(Path.home()) not in file.read_text(encoding="utf-8")
        assert '"/' not in file.read_text(encoding="utf-8").replace('"/"', "")


def test_the_labels_are_negative_and_positive(model: Any) -> None:
    assert model.config.id2label == {0: "NEGATIVE", 1: "POSITIVE"}
    assert model.config.model_type == "distilbert"


def test_a_text_longer_than_512_tokens_is_cut_and_still_scored(model: Any, tokenizer: Any) -> None:
    inputs = tokenizer("wonderful " * 600, truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape == (1, 512)
    with torch.inference_mode():
        probabilities = model(**inputs).logits[0].softmax(-1)
    assert torch.isfinite(probabilities).all()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "text", ["zyxwvq qwjzx", "Smörgås!", "4711 + 0.5 = ?", "crème brûlée", "(a_b) {c} [d] ~ | \\ `"]
)
def test_unknown_words_are_spelled_out(tokenizer: Any, text: str) -> None:
    assert tokenizer.unk_token not in tokenizer.tokenize(text)


def test_a_new_tokenizer_knows_every_letter_alone_and_inside_a_word() -> None:
    vocabulary = train_tokenizer(["a good film"]).get_vocab()
    assert {"z", "##z", "7", "##7", "?", "@"} <= vocabulary.keys()
