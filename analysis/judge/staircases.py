"""Which rate each deployment answered, in words: the finding and the headline of a staircase."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.judge import words
from analysis.judge.check_open import MORE_GENERATOR
from analysis.judge.doubts import Validity
from analysis.judge.findings import Finding, Number, Part
from analysis.measure.steps import ANSWERED, GENERATOR_LIMIT, LOST_LIMIT, OVERLOADED, Staircase, Step


def step_anchor(name: str, step: Step) -> str:
    """The anchor of a step's row in the page's table: of a deployment, of its rate."""
    return f"step-{name}-{step.rate_per_s:g}"


def staircase_finding(staircases: Sequence[Staircase], validity: Validity) -> list[Finding]:
    """Up to which rate each valid deployment answered, and what happened at the next one."""
    valid = [staircase for staircase in staircases if not validity.of(staircase.name)]
    parts: list[Part] = []
    for staircase in valid:
        parts += [" " if parts else "", *_of(staircase)]
    return [Finding("finding-staircase", "Highest rate", tuple(parts))] if parts else []


def staircase_headline(staircases: Sequence[Staircase]) -> tuple[str, ...]:
    """The highest rates of all deployments in one sentence, and then what happened above them."""
    each = tuple("".join(_text(part) for part in _of(staircase)) for staircase in staircases)
    if len(each) == 1:
        return each
    knees = "; ".join(f"{words.named(staircase.measurement)} {highest(staircase)}" for staircase in staircases)
    return (f"The highest rates that were answered: {knees}.", *each)


def highest(staircase: Staircase) -> str:
    """``640 requests/s``, or ``at least`` so many, or that not even the lowest rate was answered."""
    if staircase.knee is None:
        return "less than the lowest rate"
    at_least = "" if staircase.is_reached and _is_known(staircase) else "at least "
    return f"{at_least}{rate(staircase.knee_per_s)} requests/s"


def rate(per_s: float) -> str:
    """A rate without its unit."""
    return f"{per_s:,g}"


def rounds_agreeing(staircase: Staircase) -> str:
    """``in 3 of 5 rounds; in the others 450/s to 900/s``; of one round nothing."""
    knees = staircase.knees_per_s
    if len(knees) == 1:
        return "in one round"
    others = sorted({knee for knee in knees.values() if knee != staircase.knee_per_s})
    if not others:
        return f"in all {len(knees)} rounds"
    said = [f"{rate(knee)}/s" if knee else "none" for knee in others]
    between = said[0] if len(said) == 1 else f"{said[0]} to {said[-1]}"
    rest = "the other" if len(knees) - staircase.agreeing == 1 else "the others"
    return f"in {staircase.agreeing} of {len(knees)} rounds; in {rest} {between}"


def _is_known(staircase: Staircase) -> bool:
    """Whether the limit is that of the deployment, and not that of the load generator."""
    return staircase.next is not None and staircase.next.state == OVERLOADED


def _text(part: Part) -> str:
    return part if isinstance(part, str) else part.text


def _of(staircase: Staircase) -> list[Part]:
    """``docker run answered up to 640 requests/s (in all 5 rounds). At 900/s it answered 71% of the requests.``"""
    who = words.first_letter(words.named(staircase.measurement))
    if staircase.knee is None:
        return [f"{who} did not answer even the lowest rate in most rounds. ", *_above(staircase)]
    answered = Number(f"{rate(staircase.knee_per_s)} requests/s", step_anchor(staircase.name, staircase.knee))
    return [f"{who} answered up to ", answered, f" ({rounds_agreeing(staircase)}). ", *_above(staircase)]


def _above(staircase: Staircase) -> list[Part]:
    """What happened at the first rate that was not answered."""
    step = staircase.next
    if step is None and not staircase.is_reached:
        return ["This is the highest rate of the plan, so the limit was not reached: measure higher rates."]
    if step is None:
        return ["No higher rate was measured, because answers still came long after the end of this step."]
    if step.state == OVERLOADED:
        return _overload(staircase, step)
    anchor = step_anchor(staircase.name, step)
    at: list[Part] = ["At ", Number(f"{rate(step.rate_per_s)}/s", anchor)]
    if step.state == ANSWERED:
        return [*at, f" it answered in time in only {step.rounds_in(ANSWERED)} of {len(staircase.knees_per_s)} rounds."]
    behind = Number(share(step.share("behind")), anchor)
    said = " the load generator could not keep the rate: it sent "
    unknown = " of the requests late or not at all. So it is not known whether this rate would be answered; "
    parts = [*at, said, behind, f"{unknown}{MORE_GENERATOR}."]
    higher = (each for each in staircase.steps if each.rate_per_s > step.rate_per_s and each.state == OVERLOADED)
    overloaded = next(higher, None)
    return parts if overloaded is None else [*parts, " ", *_overload(staircase, overloaded)]


def _overload(staircase: Staircase, step: Step) -> list[Part]:
    """What a deployment did at a rate at which it was overloaded."""
    anchor = step_anchor(staircase.name, step)
    at: list[Part] = ["At ", Number(f"{rate(step.rate_per_s)}/s", anchor)]
    return [*at, *_answers(step, anchor), *_generator(step), "."]


def _answers(step: Step, anchor: str) -> list[Part]:
    if step.share("lost") > LOST_LIMIT:
        return [" it answered ", Number(share(step.share("answered")), anchor), " of the requests"]
    throughput = step.estimates["throughput_per_s"]
    rounds = len(step.rounds)
    grown = Number(f"{step.total('growth') / rounds:,.0f}", anchor)
    length_s = sum(own.length_s for own in step.rounds.values()) / rounds
    gave = Number(words.number(throughput, 0), anchor)
    return [" it gave ", gave, " answers per second, and the queue grew by ", grown, f" requests in {length_s:.2g} s"]


def _generator(step: Step) -> list[Part]:
    """That the load generator was behind too, at a rate that was not answered."""
    if step.share("behind") <= GENERATOR_LIMIT:
        return []
    return [
        f". There the load generator was behind too (with {share(step.share('behind'))} of the requests), so this may "
        "be its limit and not that of the deployment"
    ]


def share(part: float) -> str:
    """A share in percent; one that is close to none or to all of it gets a digit more."""
    return f"{part:.0%}" if 0.02 <= part <= 0.98 else f"{part:.1%}"
