"""``python -m inference.training.train [--out DIR]``: train the small bundled model from the sentences in this folder.

The training text is ``training_sentences.csv`` and what ``grammar.py`` makes of ``parts.py``. A part of it is kept
back for validation. ``test_sentences.csv`` is used once, after the training, and no sentence of it may be trained on.

The random seed is fixed, the algorithms are deterministic and the number of threads is set. So the same versions of
torch, tokenizers and transformers write the same bytes on the same type of CPU. Other versions and CPUs add numbers in
another order, and their result differs slightly.

The exit code is 1 if fewer than 85 of the 100 test sentences are labelled correctly.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel
from transformers import DistilBertConfig, DistilBertForSequenceClassification, PreTrainedTokenizerFast

from inference.training.grammar import Sentence, generate, neutral, normalized

HERE = Path(__file__).parent
BUNDLED_MODEL = HERE.parent / "bundled_model"
TRAINING_FILE = HERE / "training_sentences.csv"
TEST_FILE = HERE / "test_sentences.csv"
HARD_FILE = HERE / "hard_sentences.csv"
"""Sentences that praise or complain by stating facts. So small a model mostly guesses; the result is only printed."""

SEED = 20
THREADS = 2
GENERATED_SENTENCES = 40_000
HAND_WRITTEN_REPEATS = 14
"""How often each hand-written sentence is trained on, alone or together with another sentence."""
VALIDATION_SHARE = 0.1

VOCABULARY_SIZE = 5_000
ENDINGS = 500
ENDING_LENGTHS = range(2, 6)
MAX_TOKENS = 512
EPOCHS = 5
BATCH_SIZE = 64
PEAK_LEARNING_RATE = 1e-3
WARM_UP_STEPS = 100
WEIGHT_DECAY = 0.05
WIDTH = 64
LAYERS = 1
TOKEN_NOISE = 0.12
"""This share of the tokens is replaced by random ones in training, so that unknown words do not decide a label."""

AVERAGE_DECAY = 0.995
"""The saved weights are a running average over about the last 1 / (1 - AVERAGE_DECAY) steps."""

LEAST_TEST_ACCURACY = 85
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LABELS = {0: "NEGATIVE", 1: "POSITIVE"}


def read_sentences(path: Path) -> list[Sentence]:
    """The labelled sentences of a file with the columns ``label`` (positive or negative) and ``text``.

    Raises:
        ValueError: a label is neither positive nor negative.
    """
    sentences = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["label"] not in ("positive", "negative"):
                raise ValueError(f"{path}: label {row['label']!r}; expected positive or negative")
            sentences.append(Sentence(row["text"], row["label"] == "positive"))
    return sentences


@dataclass(frozen=True)
class Data:
    """Sentences to train on, and those kept back for validation: hand-written ones (harder) and generated ones."""

    training: list[Sentence]
    written_for_validation: list[Sentence]
    generated_for_validation: list[Sentence]


def training_data() -> Data:
    """All sentences to train on, with a share of them kept back for validation.

    Raises:
        ValueError: a test sentence is among them.
    """
    written, written_for_validation = _split(read_sentences(TRAINING_FILE), SEED)
    generated, generated_for_validation = _split(generate(GENERATED_SENTENCES, SEED), SEED)
    data = Data(written + _joined(written, SEED) + generated, written_for_validation, generated_for_validation)
    refuse_overlap(data.training + written_for_validation + generated_for_validation, read_sentences(TEST_FILE))
    refuse_overlap(data.training, read_sentences(HARD_FILE))
    return data


def refuse_overlap(learned: Sequence[Sentence], test: Sequence[Sentence]) -> None:
    """Make sure that no test sentence is trained on, whatever its case and punctuation.

    Raises:
        ValueError: at least one would be.
    """
    test_texts = {normalized(sentence.text) for sentence in test}
    shared = sorted({sentence.text for sentence in learned if normalized(sentence.text) in test_texts})
    if shared:
        raise ValueError(f"{len(shared)} test sentences are in the training data; reword them: {shared[:3]}")


def _split(sentences: Sequence[Sentence], seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """The sentences to train on, and the share that is kept back for validation."""
    shuffled = random.Random(seed).sample(sentences, len(sentences))
    kept_back = int(len(shuffled) * VALIDATION_SHARE)
    return shuffled[kept_back:], shuffled[:kept_back]


def _joined(sentences: Sequence[Sentence], seed: int) -> list[Sentence]:
    """The sentences many times: alone, with another of the same label, or after a sentence without an opinion."""
    rng = random.Random(seed)
    by_label = {label: [s.text for s in sentences if s.is_positive == label] for label in (False, True)}
    joined = []
    for sentence in list(sentences) * (HAND_WRITTEN_REPEATS - 1):
        same = rng.choice(by_label[sentence.is_positive])
        text = rng.choice((sentence.text, f"{sentence.text} {same}", f"{neutral(rng).capitalize()}. {sentence.text}"))
        joined.append(Sentence(text, sentence.is_positive))
    return joined


def train_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer that can spell any word of ASCII letters, digits and punctuation.

    The vocabulary is counted here, since the trainer of ``tokenizers`` orders words of equal count at random, and so
    gives another vocabulary in each run.
    """
    normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    vocabulary = {token: number for number, token in enumerate(_vocabulary(counts))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", SPECIAL_TOKENS.index("[SEP]")), ("[CLS]", SPECIAL_TOKENS.index("[CLS]"))
    )
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_TOKENS,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    )


def _vocabulary(counts: Counter[str]) -> list[str]:
    """Special tokens, single characters, the most common endings of words, and whole words, the most common first."""
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    continued = [f"##{character}" for character in characters if character.isalnum()]
    endings = Counter(word[-length:] for word in counts for length in ENDING_LENGTHS if len(word) > length)
    fixed = [*SPECIAL_TOKENS, *characters, *continued, *(f"##{ending}" for ending in _commonest(endings)[:ENDINGS])]
    words = [word for word in _commonest(counts) if word not in characters]
    return (fixed + words)[:VOCABULARY_SIZE]


def _commonest(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda key: (-counts[key], key))


def new_model(vocabulary_size: int) -> DistilBertForSequenceClassification:
    """An untrained DistilBERT, small enough to be kept in a repository."""
    config = DistilBertConfig(
        vocab_size=vocabulary_size,
        max_position_embeddings=MAX_TOKENS,
        dim=WIDTH,
        n_layers=LAYERS,
        n_heads=4,
        hidden_dim=4 * WIDTH,
        dropout=0.15,
        attention_dropout=0.1,
        seq_classif_dropout=0.2,
        pad_token_id=0,
        id2label=LABELS,
        label2id={label: number for number, label in LABELS.items()},
    )
    return DistilBertForSequenceClassification(config)


def predict(
    model: DistilBertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]
) -> list[bool]:
    """Which texts the model calls positive."""
    model.eval()
    found: list[bool] = []
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH_SIZE):
            batch = list(texts[start : start + BATCH_SIZE])
            inputs = tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
            found += [bool(label) for label in model(**inputs).logits.argmax(-1).tolist()]
    return found


def accuracy(
    model: DistilBertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, sentences: Sequence[Sentence]
) -> float:
    """The share, 0 to 1, of the sentences that the model labels correctly."""
    found = predict(model, tokenizer, [sentence.text for sentence in sentences])
    return sum(a == b.is_positive for a, b in zip(found, sentences, strict=True)) / len(sentences)


def train(data: Data) -> tuple[DistilBertForSequenceClassification, PreTrainedTokenizerFast]:
    """A model and its tokenizer, trained on ``data.training``. Progress is printed."""
    training = data.training
    tokenizer = train_tokenizer([sentence.text for sentence in training])
    torch.manual_seed(SEED)
    model = new_model(len(tokenizer))
    steps = EPOCHS * -(-len(training) // BATCH_SIZE)
    print(f"{len(training)} sentences, {len(tokenizer)} tokens, {steps} steps", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    averaged = AveragedModel(model, avg_fn=_running_average)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_factor(step, steps))
    encoded = tokenizer([sentence.text for sentence in training], truncation=True)["input_ids"]
    labels = torch.tensor([int(sentence.is_positive) for sentence in training])
    started_at = time.perf_counter()
    for epoch in range(1, EPOCHS + 1):
        model.train()
        losses = []
        for numbers in _batches(encoded, random.Random(SEED + epoch)):
            inputs, mask = _padded([encoded[number] for number in numbers])
            logits = model(input_ids=_with_noise(inputs, len(tokenizer)), attention_mask=mask).logits
            loss = cross_entropy(logits, labels[torch.tensor(numbers)], label_smoothing=0.05)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            averaged.update_parameters(model)
            losses.append(loss.item())
        print(
            f"epoch {epoch}/{EPOCHS}: loss {sum(losses) / len(losses):.3f}, "
            f"validation accuracy {accuracy(averaged.module, tokenizer, data.generated_for_validation):.3f} generated, "
            f"{accuracy(averaged.module, tokenizer, data.written_for_validation):.3f} hand-written, "
            f"{time.perf_counter() - started_at:.0f} s",
            flush=True,
        )
    return averaged.module, tokenizer


def _running_average(average: torch.Tensor, new: torch.Tensor, _steps: torch.Tensor | int) -> torch.Tensor:
    return average.lerp(new, 1 - AVERAGE_DECAY)


def _learning_rate_factor(step: int, steps: int) -> float:
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    return max(0.0, (steps - step) / (steps - WARM_UP_STEPS))


def _batches(encoded: Sequence[Sequence[int]], rng: random.Random) -> Iterator[list[int]]:
    """For each batch the indexes of its sentences, which are of similar length. The batches are in random order."""
    order = sorted(range(len(encoded)), key=lambda number: len(encoded[number]) + rng.random() * 4)
    batches = [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]
    rng.shuffle(batches)
    yield from batches


def _padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """The token numbers, padded with [PAD], which is 0, and a mask that is 0 for padding."""
    longest = max(len(row) for row in rows)
    inputs = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    return inputs, (inputs != 0).long()


def _with_noise(inputs: torch.Tensor, vocabulary_size: int) -> torch.Tensor:
    replaced = (torch.rand(inputs.shape) < TOKEN_NOISE) & (inputs >= len(SPECIAL_TOKENS))
    return torch.where(replaced, torch.randint(len(SPECIAL_TOKENS), vocabulary_size, inputs.shape), inputs)


def save(model: DistilBertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, folder: Path) -> int:
    """Write the model's files to ``folder``, over those of an earlier model; their size in bytes."""
    with tempfile.TemporaryDirectory() as new:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        folder.mkdir(parents=True, exist_ok=True)
        for file in Path(new).iterdir():
            shutil.copyfile(file, folder / file.name)
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def wrongly_labelled(
    model: DistilBertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, sentences: Sequence[Sentence]
) -> list[Sentence]:
    """The sentences that the model labels wrongly."""
    found = predict(model, tokenizer, [sentence.text for sentence in sentences])
    return [sentence for sentence, label in zip(sentences, found, strict=True) if sentence.is_positive != label]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m inference.training.train", description="Train the bundled model.")
    parser.add_argument("--out", type=Path, default=BUNDLED_MODEL, help="folder to write (inference/bundled_model)")
    out: Path = parser.parse_args().out
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    model, tokenizer = train(training_data())
    print(f"wrote {save(model, tokenizer, out)} bytes to {out}")
    test, hard = read_sentences(TEST_FILE), read_sentences(HARD_FILE)
    wrong = wrongly_labelled(model, tokenizer, test)
    for sentence in wrong:
        print(f"wrong, is {'positive' if sentence.is_positive else 'negative'}: {sentence.text}")
    right = len(test) - len(wrong)
    print(f"harder sentences: {len(hard) - len(wrongly_labelled(model, tokenizer, hard))}/{len(hard)}")
    print(f"held-out accuracy: {right}/{len(test)}")
    return 0 if right >= LEAST_TEST_ACCURACY else 1


if __name__ == "__main__":
    sys.exit(main())
