"""Which rate each deployment answered, in words: the finding and the headline of a staircase."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.judge import words
from analysis.judge.check_open import remedy
from analysis.judge.doubts import LONGEST_QUOTE, Validity
from analysis.judge.findings import Finding, Number, Part
from analysis.measure.others import CLOSE_OTHERS, others_of
from analysis.measure.steps import ANSWERED, NOT_KEPT, OVERLOADED, Staircase, Step
from runfiles.rates import GENERATOR_LIMIT, LOST_LIMIT


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
    knees = "; ".join(f"{words.named(each.measurement)} {highest(each)}{_in_brackets(each)}" for each in staircases)
    return (f"The highest rates that were answered: {knees}.", *each)


def highest(staircase: Staircase) -> str:
    """``640 requests/s``, or ``at least`` so many, or that not even the lowest rate was answered; ``not known`` if that
    may not be the deployment's doing."""
    if staircase.knee is None:
        return "less than the lowest rate" if _is_known(staircase) else "not known"
    at_least = "" if staircase.is_reached and _is_known(staircase) else "at least "
    return f"{at_least}{rate(staircase.knee_per_s)} requests/s"


def rate(per_s: float) -> str:
    """A rate without its unit."""
    return f"{per_s:,g}"


def rounds_reaching(staircase: Staircase) -> str:
    """``in all 5 rounds``, or ``this rate or more in 3 of 5 rounds; they went from 450/s to 900/s``."""
    knees = staircase.knees_per_s
    if len(knees) == 1:
        return "in one round"
    if len({*knees.values()}) == 1:
        return "in both rounds" if len(knees) == 2 else f"in all {len(knees)} rounds"
    return f"this rate or more in {staircase.reaching} of {len(knees)} rounds; they went from {_span(staircase)}"


def _in_brackets(staircase: Staircase) -> str:
    """How far the rounds differ; nothing if they do not."""
    return "" if len({*staircase.knees_per_s.values()}) == 1 else f" (its rounds: {_span(staircase)})"


def _span(staircase: Staircase) -> str:
    """The lowest and the highest of the rounds."""
    low, high = (each(staircase.knees_per_s.values()) for each in (min, max))
    return f"{f'{rate(low)}/s' if low else 'none'} to {rate(high)}/s"


def _is_known(staircase: Staircase) -> bool:
    """Whether the limit is that of the deployment, and not that of the load generator or of other programs."""
    step = staircase.next
    return step is not None and step.state == OVERLOADED and not step.others.took_most


def _text(part: Part) -> str:
    return part if isinstance(part, str) else part.text


def _of(staircase: Staircase) -> list[Part]:
    """``docker run answered up to 640 requests/s (in all 5 rounds). At 900/s it answered 71% of the requests.``"""
    who = words.first_letter(words.named(staircase.measurement))
    if staircase.knee is None:
        return [f"{who} did not answer even the lowest rate in most rounds. ", *_above(staircase)]
    answered = Number(f"{rate(staircase.knee_per_s)} requests/s", step_anchor(staircase.name, staircase.knee))
    return [f"{who} answered up to ", answered, f" ({rounds_reaching(staircase)}). ", *_above(staircase)]


def _above(staircase: Staircase) -> list[Part]:
    """What happened at the first rate that was not answered."""
    step = staircase.next
    if step is None and not staircase.is_reached:
        return ["This is the highest rate of the plan, so the limit was not reached: measure higher rates."]
    if step is None:
        return ["No higher rate was measured, because answers still came long after the end of this step."]
    if step.state == OVERLOADED:
        return _overload(staircase, step)
    if step.state == ANSWERED:
        anchor = step_anchor(staircase.name, step)
        at: list[Part] = ["At ", Number(f"{rate(step.rate_per_s)}/s", anchor)]
        return [*at, f" it answered in time in only {step.rounds_in(ANSWERED)} of {len(step.rounds)} rounds."]
    parts = _unknown(staircase, step)
    higher = (each for each in staircase.steps if each.rate_per_s > step.rate_per_s and each.state == OVERLOADED)
    overloaded = next(higher, None)
    return parts if overloaded is None else [*parts, " ", *_overload(staircase, overloaded)]


def _unknown(staircase: Staircase, step: Step) -> list[Part]:
    """That nothing is known of a rate, because the load generator did not keep it."""
    anchor = step_anchor(staircase.name, step)
    rounds = [own for own in step.rounds.values() if own.state == NOT_KEPT]
    behind = share(sum(own.behind for own in rounds) / sum(own.due for own in rounds))
    where = f" in {len(rounds)} of {len(step.rounds)} rounds" if len(rounds) < len(step.rounds) else ""
    return [
        "At ",
        Number(f"{rate(step.rate_per_s)}/s", anchor),
        f" the load generator could not keep the rate{where}: it sent ",
        Number(behind, anchor),
        " of the requests late or not at all. So it is not known whether this rate would be answered; "
        f"{remedy(others_of(own.others_percent for own in rounds))}.",
    ]


def _overload(staircase: Staircase, step: Step) -> list[Part]:
    """What a deployment did at a rate at which it was overloaded."""
    anchor = step_anchor(staircase.name, step)
    at: list[Part] = ["At ", Number(f"{rate(step.rate_per_s)}/s", anchor)]
    return [*at, *_answers(step, anchor), ".", *_doubts(step)]


def _answers(step: Step, anchor: str) -> list[Part]:
    if step.share("lost") > LOST_LIMIT:
        error = step.first_error[:LONGEST_QUOTE]
        failed = f"; {share(step.share('failed'))} failed (the first: {error})" if error else ""
        return [" it answered ", Number(share(step.share("answered")), anchor), f" of the requests{failed}"]
    throughput = step.estimates["throughput_per_s"]
    rounds = len(step.rounds)
    grown = Number(f"{step.total('growth') / rounds:,.0f}", anchor)
    length_s = sum(own.length_s for own in step.rounds.values()) / rounds
    gave = Number(words.number(throughput, 0), anchor)
    return [" it gave ", gave, " answers per second, and the queue grew by ", grown, f" requests in {length_s:.2g} s"]


def _doubts(step: Step) -> list[Part]:
    """That the load generator was late too, or other programs took the CPU, at a rate that was not answered."""
    said = []
    if step.share("behind") > GENERATOR_LIMIT:
        said.append(f"the load generator sent {share(step.share('behind'))} of the requests late or not at all")
    others = step.others
    if others.took_most:
        said.append(others.said("rounds"))
    if not said:
        return []
    advice = f"; {CLOSE_OTHERS}" if others.took_most else ""
    return [f" There {', and '.join(said)}, so this may not be the limit of the deployment{advice}."]


def share(part: float) -> str:
    """A share in percent; one that is close to none or to all of it gets a digit more."""
    return f"{part:.0%}" if 0.02 <= part <= 0.98 else f"{part:.1%}"
