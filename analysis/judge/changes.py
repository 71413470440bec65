"""What planned changes did to each deployment, in words: findings, the headline, and what the table shares."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.judge import words
from analysis.judge.doubts import LONGEST_QUOTE, Validity
from analysis.judge.findings import Finding, Number, Part
from analysis.measure.effects import Effect
from analysis.measure.quantity import Estimate
from analysis.measure.rounds import Measurement
from runfiles.events import CPU, DRAIN, KILL, PAUSE, SCALE, SPIKE, STOP, UPDATE
from runfiles.records import ChangeRecord

DIGITS = 1
"""Of seconds."""
RUN_END = "the end of the run"
NOTICED_S = 1.0
"""A time without any answer that is worth a sentence."""


def effect_anchor(effect: Effect) -> str:
    """The anchor of a change's row in the page's table."""
    return f"change-{effect.name}-{effect.number}"


def what_was_done(planned: ChangeRecord) -> str:
    """``a replica was killed``: a change within a sentence."""
    lasting = f" for {planned.seconds:g} s" if planned.seconds is not None else ""
    return {
        KILL: "a replica was killed",
        STOP: "a replica was stopped",
        PAUSE: f"a replica was paused{lasting}",
        SCALE: f"the number of replicas was set to {planned.replicas}",
        UPDATE: "all replicas were replaced (update)",
        CPU: f"the CPU limit of each replica was set to {cores(planned)}",
        DRAIN: f"the node was drained{lasting}",
        SPIKE: f"the rate was {_times(planned)}{lasting}",
    }[planned.action]


def cores(planned: ChangeRecord) -> str:
    """The new CPU limit: ``1 core``."""
    return "1 core" if planned.cpus == 1 else f"{planned.cpus or 0:g} cores"


def _times(planned: ChangeRecord) -> str:
    times = planned.times or 1.0
    return {2.0: "doubled", 3.0: "tripled"}.get(times, f"{times:g} times as high")


def name_of(planned: ChangeRecord) -> str:
    """``kill``, ``pause 5 s``, ``scale to 3``, ``spike 3 times for 10 s``: a change as a label."""
    lasting = f" {planned.seconds:g} s" if planned.seconds is not None else ""
    more = {
        PAUSE: lasting,
        DRAIN: lasting,
        SCALE: f" to {planned.replicas}",
        CPU: f" to {cores(planned)}",
        SPIKE: f" {planned.times or 1:g} times for{lasting}",
    }
    return f"{planned.action}{more.get(planned.action, '')}"


def label(effect: Effect) -> str:
    """``kill``, or ``kill at 5 s`` if the plan has several changes."""
    return f"{name_of(effect.planned)}{_at(effect)}"


def _at(effect: Effect) -> str:
    return f" at {effect.planned.at_s:g} s" if effect.of > 1 else ""


def _when(effect: Effect) -> str:
    at = f" (at {effect.planned.at_s:g} s)" if effect.of > 1 else ""
    return f"{what_was_done(effect.planned)}{at}"


def why_not_made(load: Measurement, number: int) -> dict[int, str]:
    """The rounds of a deployment in which a change was not made, and why."""
    found = {}
    for number_of_round, run in load.deployment.loads.items():
        own = [row for row in run.changes.to_dict("records") if row["number"] == number]
        if not own or own[0]["error"]:
            found[number_of_round] = str(own[0]["error"])[:LONGEST_QUOTE] if own else "there is no record of it"
    return found


def until(effect: Effect) -> str:
    """What ends the span of a change."""
    is_last = all(recovery.is_last for recovery in effect.rounds.values())
    return RUN_END if is_last else "the next change"


def in_rounds(count: int, effect: Effect) -> str:
    """`` in 2 of 3 rounds``; nothing if it is all of them."""
    return "" if count == len(effect.rounds) else f" in {count} of {len(effect.rounds)} rounds"


def seconds(estimate: Estimate) -> str:
    """``1.2 s (0.9 to 1.5)``."""
    interval = f" ({words.low_to_high(estimate, DIGITS)})" if estimate.has_interval else ""
    return f"{words.number(estimate, DIGITS)} s{interval}"


def why_down(effect: Effect) -> str:
    """Why nothing was answered any more, as far as the replicas tell."""
    down = [recovery for recovery in effect.rounds.values() if recovery.is_down]
    if any(recovery.new_replicas for recovery in down):
        return "what was started did not answer"
    return "nobody restarted it"


def change_findings(effects: Sequence[Effect], validity: Validity) -> list[Finding]:
    """A paragraph for each change of each valid deployment."""
    return [
        Finding(f"finding-{effect_anchor(effect)}", f"{effect.title}: {label(effect)}", tuple(_of(effect)))
        for effect in effects
        if not validity.of(effect.name)
    ]


def change_headline(effects: Sequence[Effect]) -> tuple[str, ...]:
    """What the worst change of each deployment did to it, in a sentence for each such change, and then each change of
    each."""
    worst = [
        max((effect for effect in effects if effect.name == name), key=_badness)
        for name in dict.fromkeys(effect.name for effect in effects)
    ]
    said = []
    for number in sorted({effect.number for effect in worst}):
        own = [effect for effect in worst if effect.number == number]
        each = "; ".join(f"{words.named(effect.measurement)} {_in_short(effect)}" for effect in own)
        said.append(f"When {_when(own[0])}, {each}.")
    return (" ".join(said), *map(effect_in_words, effects))


def _badness(effect: Effect) -> tuple[int, float]:
    """By lost requests, then by how long nothing was answered. Of changes that are alike the first is the worst."""
    silent = effect.figure("silent_s").estimate
    return effect.total("lost"), silent.value if silent.is_measured else 0.0


def effect_in_words(effect: Effect) -> str:
    """What a change did to a deployment, in a few sentences."""
    return "".join(map(_text, _of(effect)))


def _text(part: Part) -> str:
    return part if isinstance(part, str) else part.text


def _in_short(effect: Effect) -> str:
    if effect.down:
        return f"was down until {until(effect)}{in_rounds(effect.down, effect)}"
    silent = effect.figure("silent_s").estimate
    lost = "".join(map(_text, _lost(effect)))
    if silent.is_measured and silent.value >= NOTICED_S:
        return f"{lost} and answered nothing for {seconds(silent)}"
    first = effect.figure("first_answer_s").estimate
    if effect.planned.action == SCALE and first.is_measured:
        return f"{lost}, and a new replica answered first after {seconds(first)}"
    return lost


def _of(effect: Effect) -> list[Part]:
    """``Swarm, 3 replicas lost 3 of 979 requests when a replica was killed, and served without errors again after 1.2 s
    (0.9 to 1.5). Its median response time stayed as before.``"""
    who = words.first_letter(words.named(effect.measurement))
    said = [f"{who} ", *_lost(effect), f" when {_when(effect)}", *_served_again(effect), "."]
    return [*said, *_silence(effect), *_latency(effect), *_slowed(effect), *_new(effect), *_before(effect)]


def _lost(effect: Effect) -> list[Part]:
    lost, requests = effect.total("lost"), effect.total("requests")
    if not requests:
        return ["lost ", Number("no request", effect_anchor(effect))]
    share = f"{lost:,} of {requests:,}" if lost else f"none of {requests:,}"
    rounds = f" (in {len(effect.rounds)} rounds)" if len(effect.rounds) > 1 else ""
    return ["lost ", Number(share, effect_anchor(effect)), f" requests{rounds}"]


def _served_again(effect: Effect) -> list[Part]:
    """When requests were served again."""
    failed, found = effect.figure("last_failed_s"), effect.figure("served_again_s")
    said: list[Part] = []
    if effect.down:
        said.append(f", and was down until {until(effect)}{in_rounds(effect.down, effect)}: {why_down(effect)}")
    if failing := failed.never - effect.down:
        said.append(f", and requests still failed at {until(effect)}{in_rounds(failing, effect)}")
    if not effect.total("lost") or not found.estimate.is_measured:
        return said
    again = "; in the others it served" if failed.never else ", and served"
    told = "" if failed.never else in_rounds(found.asked - found.never, effect)
    number = Number(seconds(found.estimate), effect_anchor(effect))
    return [*said, f"{again} without errors again after ", number, *([told] if told else [])]


def _silence(effect: Effect) -> list[Part]:
    found = effect.figure("silent_s").estimate
    if effect.down or not found.is_measured or found.value < NOTICED_S:
        return []
    return [" It answered nothing for ", Number(seconds(found), effect_anchor(effect)), "."]


def _latency(effect: Effect) -> list[Part]:
    """When response times were as before; nothing of a deployment that was down."""
    found = effect.figure("latency_back_s")
    never = found.never - effect.down
    if not found.asked or effect.down == len(effect.rounds):
        return []
    said: list[Part] = []
    if found.estimate.is_measured:
        if found.estimate.value:
            time = Number(seconds(found.estimate), effect_anchor(effect))
            said = [" Its median response time was as before after ", time]
        else:
            said = [" Its median response time stayed as before"]
        said += [in_rounds(found.asked - found.never, effect), "."]
    if never > 0:
        end = "the run ended" if until(effect) == RUN_END else "the next change began"
        said.append(f" Its median was still higher when {end}{in_rounds(never, effect)}.")
    return said


def _slowed(effect: Effect) -> list[Part]:
    """What a spike did to the slowest requests, which a median does not show."""
    extra = effect.figure("extra_s").estimate
    if effect.planned.action != SPIKE or not extra.is_measured:
        return []
    counts = f"{effect.total('slowed'):,} of {effect.total('requests'):,}"
    said: list[Part] = [" ", Number(counts, effect_anchor(effect)), " requests were slowed"]
    if effect.total("slowed"):
        said += [": they waited ", Number(seconds(extra), effect_anchor(effect)), " longer, all together"]
        said += [" in a round"] if len(effect.rounds) > 1 else []
    return [*said, "."]


def _before(effect: Effect) -> list[Part]:
    """That the state before was that of an earlier change."""
    disturbed = sum(recovery.is_disturbed_before for recovery in effect.rounds.values())
    if not disturbed:
        return []
    return [f" Already before this change it was not as before the first one{in_rounds(disturbed, effect)}."]


def _new(effect: Effect) -> list[Part]:
    """When new replicas answered, and when they had their share."""
    first, fair = effect.figure("first_answer_s"), effect.figure("fair_share_s")
    if not first.asked:
        return []
    anchor = effect_anchor(effect)
    is_one = all(recovery.new_replicas == 1 for recovery in effect.rounds.values())
    said: list[Part] = []
    if first.estimate.is_measured:
        told = in_rounds(first.asked - first.never, effect)
        said += [" A new replica answered first after ", Number(seconds(first.estimate), anchor), f"{told}."]
    if first.never:
        said.append(f" No new replica answered until {until(effect)}{in_rounds(first.never, effect)}.")
    if fair.estimate.is_measured:
        told = in_rounds(fair.asked - fair.never, effect)
        who = "It had its" if is_one else "All new ones had their"
        said += [f" {who} fair share after ", Number(seconds(fair.estimate), anchor), f"{told}."]
    if (unfair := fair.never - first.never) > 0:
        told = in_rounds(unfair, effect)
        who = "It did not get its" if is_one else "Not all new ones got their"
        said.append(f" {who} fair share until {until(effect)}{told}{_why_unfair(effect)}.")
    return said


def _why_unfair(effect: Effect) -> str:
    """That kept connections lead to the replicas that were there before, if they did."""
    kept, reached = effect.total("kept"), effect.total("reached")
    if not kept:
        return ""
    return f": of {kept:,} answers over kept connections they gave {reached:,}"
