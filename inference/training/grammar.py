"""A small seeded grammar that makes labelled sentences from the hand-written parts.

Each pattern is called with a polarity and makes a clause of that polarity, so the label of each sentence is known. A
negated good word makes a negative sentence, and the part after "but" decides the label of the whole.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference.training import parts
from inference.training.topics import TOPICS, Topic


@dataclass(frozen=True)
class Sentence:
    """A text and whether it is positive."""

    text: str
    is_positive: bool


Pattern = Callable[[random.Random, bool], str]


def generate(count: int, seed: int) -> list[Sentence]:
    """``count`` different sentences, positive and negative ones in turn. The same seed makes the same sentences."""
    rng = random.Random(seed)
    seen: set[str] = set()
    made: list[Sentence] = []
    while len(made) < count:
        is_positive = len(made) % 2 == 0
        text = _text(rng, is_positive)
        if text not in seen:
            seen.add(text)
            made.append(Sentence(text, is_positive))
    return made


def _text(rng: random.Random, good: bool) -> str:
    """Mostly one sentence, sometimes a short review of two to five sentences of the same polarity."""
    count = rng.choices((1, 2, 3, 5), weights=(70, 15, 10, 5))[0]
    clauses = [_clause(rng, good) for _ in range(count)]
    if count > 1 and rng.random() < 0.5:
        clauses[0] = neutral(rng)
    return " ".join(_as_sentence(rng, clause) for clause in clauses)


def _as_sentence(rng: random.Random, clause: str) -> str:
    if rng.random() < 0.12:
        clause = f"{rng.choice(parts.OPENERS)}, {clause}".replace(" that, ", " that ")
    end = "" if clause.endswith(("?", "!")) else rng.choices((".", "!", "", "..."), weights=(75, 15, 8, 2))[0]
    return clause[0].upper() + clause[1:] + end


def _clause(rng: random.Random, good: bool) -> str:
    patterns, weights = zip(*PATTERNS, strict=True)
    pattern: Pattern = rng.choices(patterns, weights=weights)[0]
    clause = pattern(rng, good)
    if rng.random() < 0.15 and not clause.endswith(("?", "!")):
        return f"{clause} {rng.choice(parts.TIMES)}"
    return clause


# Words


def _topic(rng: random.Random) -> Topic:
    return rng.choice(TOPICS)


def _adjective(rng: random.Random, topic: Topic, good: bool) -> str:
    general = parts.GOOD_ADJECTIVES if good else parts.BAD_ADJECTIVES
    special = topic.good_adjectives if good else topic.bad_adjectives
    return rng.choice(special if rng.random() < 0.45 else general)


def _strong_adjective(rng: random.Random, topic: Topic, good: bool) -> str:
    adjective = _adjective(rng, topic, good)
    return f"{rng.choice(parts.INTENSIFIERS)} {adjective}" if rng.random() < 0.4 else adjective


def _subject(rng: random.Random, topic: Topic) -> str:
    determiner = rng.choices(
        ("the", "this", "my", "our", "their", "the whole", "his", "her"), weights=(60, 12, 10, 8, 4, 2, 2, 2)
    )[0]
    return "it" if rng.random() < 0.1 else f"{determiner} {rng.choice(topic.nouns)}"


def _was(rng: random.Random) -> str:
    return rng.choices(("was", "is", "were", "looks", "felt", "seemed", "are"), weights=(50, 25, 8, 4, 5, 4, 4))[0]


def _was_not(rng: random.Random) -> str:
    return rng.choice(("was not", "wasn't", "is not", "isn't", "were not", "weren't", "was never", "did not seem"))


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _thing(rng: random.Random, good: bool) -> str:
    return rng.choice(parts.GOOD_THINGS if good else parts.BAD_THINGS)


def neutral(rng: random.Random) -> str:
    """A clause that states no opinion."""
    if rng.random() < 0.4:
        return rng.choice(parts.NEUTRAL_CLAUSES)
    person, verb = rng.choice(parts.NEUTRAL_PEOPLE), rng.choice(parts.NEUTRAL_VERBS)
    time = f" {rng.choice(parts.TIMES)}" if rng.random() < 0.6 else ""
    return f"{person} {verb} the {rng.choice(_topic(rng).nouns)}{time}"


def _listed(rng: random.Random, words: Sequence[str]) -> str:
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])}{rng.choice((' and ', ', and ', ' and '))}{words[-1]}"


# Patterns: words of one polarity


def _is_adjective(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    adjectives = [_strong_adjective(rng, topic, good) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
    return f"{_subject(rng, topic)} {_was(rng)} {_listed(rng, adjectives)}"


def _its(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    return ", ".join(f"it's {_adjective(rng, topic, good)}" for _ in range(rng.choice((1, 2, 3))))


def _had(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    noun = rng.choice((*topic.nouns, "time", "day", "evening", "experience", "thing", "idea", "night", "visit"))
    person, verb = rng.choice(parts.NEUTRAL_PEOPLE), rng.choice(parts.NEUTRAL_VERBS)
    determiner = rng.choice(("the", "a", "such a", "a really", "a very", "this", "some", "their", "my", "a rather"))
    return f"{person} {verb} {determiner} {_adjective(rng, topic, good)} {noun}"


def _so_that(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    result = rng.choice(parts.GOOD_RESULTS if good else parts.BAD_RESULTS)
    return f"{_subject(rng, topic)} {_was(rng)} so {_adjective(rng, topic, good)} that {result}"


def _does(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    return f"{_subject(rng, topic)} {rng.choice(topic.good_verbs if good else topic.bad_verbs)}"


def _reaction(rng: random.Random, good: bool) -> str:
    phrase = rng.choice(parts.GOOD_REACTIONS if good else parts.BAD_REACTIONS)
    if rng.random() < 0.6:
        return f"I {phrase}"
    plural = {"was": "were", "am": "are", "my": "our", "me": "us", "myself": "ourselves"}
    return "we " + " ".join(plural.get(word, word) for word in phrase.split())


def _fragment(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    pairs = [
        f"{_strong_adjective(rng, topic, good)} {rng.choice(topic.nouns)}" for _ in range(rng.choice((1, 2, 2, 3)))
    ]
    return _listed(rng, pairs)


def _lone_adjectives(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    return ", ".join(_strong_adjective(rng, topic, good) for _ in range(rng.choice((1, 1, 2))))


def _exclamation(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    if rng.random() < 0.3:
        return f"what {_article(rng.choice(parts.GOOD_NOUNS if good else parts.BAD_NOUNS))}!"
    adjective = _adjective(rng, topic, good)
    return rng.choice((f"what {_article(adjective)} {rng.choice(topic.nouns)}!", f"how {adjective}!"))


def _is_noun(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    noun = rng.choice(parts.GOOD_NOUNS if good else parts.BAD_NOUNS)
    strength = rng.choice(("", "", "real ", "total ", "complete ", "true ", "absolute "))
    return f"{_subject(rng, topic)} {rng.choice(('was', 'is', 'turned out to be'))} {_article(strength + noun)}"


def _superlative(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    superlative = rng.choice(parts.SUPERLATIVES_GOOD if good else parts.SUPERLATIVES_BAD)
    noun = rng.choice(topic.nouns)
    scope = rng.choice(
        (
            "I have ever had", "I have ever seen", "in the world", "in town", "of the year", "we have come across",
            "of my life", "in a long time", "of all", "I know", "ever", "for miles around", "of the lot",
        )
    )  # fmt: skip
    lead = rng.choice(
        ("the", "this is the", "it was the", "one of the", "probably the", "by far the", "hands down the")
    )
    return f"{lead} {superlative} {noun} {scope}"


def _feeling(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    verbs = (
        "love", "loved", "like", "really like", "liked", "adore", "enjoyed", "really enjoyed", "admire", "appreciate",
        "can recommend", "highly recommend", "am happy with", "am delighted with", "was pleased with", "fell for",
    ) if good else (
        "hate", "hated", "dislike", "disliked", "despise", "can't stand", "couldn't stand", "loathe", "regret buying",
        "am unhappy with", "was disappointed by", "am fed up with", "don't like", "didn't like", "didn't enjoy",
        "do not recommend", "would not recommend", "wouldn't recommend", "don't understand the hype about",
    )  # fmt: skip
    who = rng.choice(("I", "I", "we", "my wife and I", "the children", "my friends", "you will"))
    verb = rng.choice(verbs)
    verb = verb.replace("am ", "was ") if who == "I" and rng.random() < 0.5 else verb
    return f"{who} {verb} {_subject(rng, topic)}"


def _full_of(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    things = _listed(rng, [_thing(rng, good) for _ in range(rng.choice((1, 2)))])
    return (
        f"{_subject(rng, topic)} {rng.choice(('was full of', 'is full of', 'had so much', 'had plenty of'))} {things}"
    )


def _comparison(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    word = rng.choice(
        ("better", "nicer", "even better", "much better", "far more comfortable", "more fun", "friendlier", "tastier")
        if good
        else ("worse", "even worse", "much worse", "far worse", "uglier", "more boring", "less comfortable", "less fun")
    )
    other = rng.choice(
        ("than the last one", "than before", "than I expected", "than I remembered", "than expected",
         "than the photos", "than any other", "than last year", "than most")
    )  # fmt: skip
    return f"{_subject(rng, topic)} {_was(rng)} {word} {other}"


def _question(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    noun, adjective = rng.choice(topic.nouns), _adjective(rng, topic, good)
    asked: tuple[str, ...]
    if good:
        asked = (
            f"who would not like such {_article(adjective)} {noun}?", f"isn't it {adjective}?",
            f"how do they make such {_article(adjective)} {noun}?", f"have you ever seen a better {noun}?",
            f"why did I not find this {adjective} {noun} sooner?", f"could the {noun} be any better?",
            f"where else do you find such {_article(adjective)} {noun}?", f"is there anything nicer than this {noun}?",
        )  # fmt: skip
    else:
        asked = (
            f"why is the {noun} so {adjective}?", f"who wants such {_article(adjective)} {noun}?",
            f"why would anyone pay for such {_article(adjective)} {noun}?", f"why was the {noun} {adjective} again?",
            f"how can {_article(noun)} be so {adjective}?", f"did nobody notice how {adjective} the {noun} was?",
            f"is it normal that the {noun} is {adjective}?", f"can it get any more {adjective}?",
            f"what is so good about this {noun}?", f"does anybody really like this {noun}?",
        )  # fmt: skip
    return rng.choice(asked)


# Patterns: negation turns the words round


def _is_not(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    adjective = _adjective(rng, topic, not good)
    return rng.choice(
        (
            f"{_subject(rng, topic)} {_was_not(rng)} {adjective}",
            f"{_subject(rng, topic)} {_was_not(rng)} {adjective} at all",
            f"{_subject(rng, topic)} {_was_not(rng)} {adjective} and not {_adjective(rng, topic, not good)}",
            f"{_subject(rng, topic)} {_was_not(rng)} {adjective} or {_adjective(rng, topic, not good)}",
            f"not {adjective} at all",
            f"not {_article(adjective)} {rng.choice(topic.nouns)}",
            f"{_subject(rng, topic)} {_was(rng)} anything but {adjective}",
            f"{_subject(rng, topic)} {_was(rng)} far from {adjective}",
            f"{_subject(rng, topic)} {_was(rng)} neither {adjective} nor {_adjective(rng, topic, not good)}",
        )
    )


def _without(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    thing = _thing(rng, not good)
    return rng.choice(
        (
            f"no {thing}, no {_thing(rng, not good)}",
            f"there was no {thing}",
            f"there were no {thing} at all",
            f"{_subject(rng, topic)} had no {thing}",
            f"{_subject(rng, topic)} {_was(rng)} without any {thing}",
            f"{_subject(rng, topic)} {_was(rng)} free of {thing}" if good else f"{_subject(rng, topic)} lacked {thing}",
            f"not a trace of {thing} anywhere",
            f"we had no {thing} with the {rng.choice(topic.nouns)}",
        )
    )


def _nothing(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    adjective, noun = _adjective(rng, topic, not good), rng.choice(topic.nouns)
    return rng.choice(
        (
            f"nothing {adjective} about the {noun}",
            f"nothing about the {noun} was {adjective}",
            f"there is nothing {adjective} here",
            f"there wasn't one {adjective} thing about the {noun}",
            f"nobody could call this {noun} {adjective}",
            f"I did not find the {noun} {adjective}",
            f"I don't think that the {noun} is {adjective}",
            f"not one {adjective} {noun}",
        )
    )


def _negated_feeling(rng: random.Random, good: bool) -> str:
    topic = _topic(rng)
    subject = _subject(rng, topic)
    choices: tuple[str, ...]
    if good:
        choices = (
            f"I don't regret buying {subject}", f"you won't regret {subject}", f"I never get bored with {subject}",
            f"I have nothing against {subject}", f"{subject} never disappoints", f"{subject} does not disappoint",
            f"{subject} did not let us down", f"I can't complain about {subject}", f"nobody complained about {subject}",
            f"we had no complaints about {subject}", f"{subject} could not have been better",
            f"{subject} couldn't be better", f"I never had a better {rng.choice(topic.nouns)}",
            f"I could not be happier with {subject}", f"you can't go wrong with {subject}",
            f"there is nothing wrong with {subject}", f"don't miss {subject}", f"nobody was bored by {subject}",
        )  # fmt: skip
    else:
        choices = (
            f"I did not enjoy {subject}", f"I do not like {subject}", f"nobody enjoyed {subject}",
            f"I wouldn't recommend {subject} to anyone", f"I would not buy {subject} again", f"I never liked {subject}",
            f"{subject} is not worth it", f"{subject} wasn't worth the money", f"{subject} did not live up to the hype",
            f"{subject} did not work", f"{subject} could not have been worse", f"{subject} couldn't be worse",
            f"I never had a worse {rng.choice(topic.nouns)}", f"nobody liked {subject}", f"I can't recommend {subject}",
            f"{subject} did not help at all", f"{subject} did not impress anyone", f"no one cared about {subject}",
            f"I see no reason to like {subject}", f"I couldn't enjoy {subject}", f"don't trust {subject}",
            f"{subject} didn't keep what it promised", f"I was not happy with {subject}",
        )  # fmt: skip
    return rng.choice(choices)


# Patterns: two clauses


def _plain(rng: random.Random, good: bool) -> str:
    pattern = rng.choice((_is_adjective, _does, _reaction, _is_noun, _feeling, _is_not, _full_of, _does, _does))
    return pattern(rng, good)


def _agreeing(rng: random.Random, good: bool) -> str:
    first, second = _plain(rng, good), _plain(rng, good)
    joint = rng.choice((" and ", ", and ", ", ", "; ", " because ", " since ", ", so ", ", also ", " and then ", " - "))
    return f"{first}{joint}{second}"


def _contrast(rng: random.Random, good: bool) -> str:
    against, decisive = _plain(rng, not good), _plain(rng, good)
    return rng.choice(
        (
            f"{against}, but {decisive}", f"{against} but {decisive}", f"{against}, yet {decisive}",
            f"although {against}, {decisive}", f"even though {against}, {decisive}", f"{against}; however, {decisive}",
            f"{decisive}, although {against}", f"{decisive}, even if {against}", f"while {against}, {decisive}",
            f"I expected that {against}, but {decisive}", f"I was told that {against}, but {decisive}",
            f"they said that {against}, instead {decisive}",
        )
    )  # fmt: skip


def _with_neutral(rng: random.Random, good: bool) -> str:
    context, plain = neutral(rng), _plain(rng, good)
    return rng.choice(
        (
            f"{context} and {plain}", f"{context}, and {plain}", f"{plain} when {context}", f"{context}, {plain}",
            f"when {context}, {plain}", f"{plain}, {context}", f"{context} but {plain}", f"{plain} after {context}",
        )
    )  # fmt: skip


PATTERNS: tuple[tuple[Pattern, int], ...] = (
    (_is_adjective, 14),
    (_its, 3),
    (_had, 14),
    (_so_that, 4),
    (_does, 16),
    (_reaction, 10),
    (_fragment, 6),
    (_lone_adjectives, 3),
    (_exclamation, 4),
    (_is_noun, 4),
    (_superlative, 4),
    (_feeling, 6),
    (_full_of, 2),
    (_comparison, 3),
    (_question, 4),
    (_is_not, 7),
    (_without, 3),
    (_nothing, 3),
    (_negated_feeling, 5),
    (_agreeing, 10),
    (_contrast, 7),
    (_with_neutral, 14),
)


def normalized(text: str) -> str:
    """The words of the text in lower case, by which different spellings of a sentence are found to be the same."""
    return " ".join(re.findall(r"\w+", text.lower().replace("'", "").replace("\u2019", "")))
