"""The page of two services: what was found, charts, each quantity in each deployment, and what to mind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from analysis.judge import words
from analysis.judge.comparability import MEMORY_APART
from analysis.judge.two_findings import anchor, objective_of, verdict_in_words
from analysis.judge.two_verdicts import LESS, MORE, Pair, Side, TwoSides
from analysis.measure.quantity import CAPACITY, QUANTITIES, Estimate
from analysis.show import facts, two_charts
from analysis.show.chart_style import plot_of
from analysis.show.elements import Caveat, CaveatList, Cell, Chart, Column, Fact, Page, Row, Section, Table
from analysis.show.page import paragraphs, render_page
from analysis.show.sections import INTERVALS
from analysis.show.tables import VERDICT_STYLES
from analysis.two import TwoServices

HEADING = "What two services cost in the same deployments"
STYLES = VERDICT_STYLES | {MORE: "slower", LESS: "faster"}
HOW_FINDINGS_ARE_READ = (
    "A ratio above 1 means that {} has the larger value. A bracket with two numbers is the 95% interval."
)
HOW_COSTS_ARE_READ = (
    "What costs more, the service or Docker, is said only if the interval of the one lies wholly above those of the "
    "other. A container against the host process is the ratio of the page of one experiment: it is computed round by "
    "round, so it need not be the quotient of two values of this page."
)
HOW_RATIOS_ARE_READ = (
    "Each value is the geometric mean of the rounds. {of_one_page} The ratio is the value of {second} divided by that "
    "of {first}. Rounds of two experiments are not paired: the interval of the ratio is that of Welch's t test on the "
    "logarithms. The verdict is about {second}. The verdicts are corrected for the number of comparisons on this page "
    "(Holm's correction), and need p < 0.05; so an interval may exclude 1 although no difference is proven."
)
PLAIN_MEANS = "The page of one experiment shows their plain mean, which is larger if the rounds differ much."
OF_ALL_STEPS = (
    "With fewer than three rounds the page of one experiment computes the capacity from all steps together, so it can "
    "differ a bit."
)
HOW_ANSWERS_ARE_READ = (
    "Answers per second have no verdict: if each user waits for its answer, they mirror the response time, and if "
    "requests are due at a rate, they mirror that."
)
HOW_CAPACITY_IS_READ = (
    "The capacity is the highest rate of requests at which the objective is met: {}. Response times, answers per "
    "second and CPU over all rates of a search would say little, so this page does not show them."
)
HOW_BESIDE_IS_READ = (
    "The upper mark: how many times the median of the faster service the slower one needs, both as host processes. The "
    "marks below: how many times the median of the host process a container needs, with the same service. The bar is "
    "the 95% interval, and the axis is logarithmic. If the upper bar lies right of all others, the service costs more "
    "than Docker does."
)


def render_two(two: TwoServices) -> str:
    """The page as HTML."""
    return render_page(two_page(two))


def two_page(two: TwoServices) -> Page:
    """All that the page shows."""
    first, second = _names(two)
    found = two_sections(two)
    notes = dict.fromkeys(side.results.note for side in two.sides if side.results.note)
    return Page(
        heading=HEADING,
        name=f"{first} and {second}",
        headline=two.headline[0],
        numbers=two.headline[1:],
        note=" ".join(notes),
        subject=f"{first} and {second} were measured in the same deployments, in two experiments. The page sets them "
        "beside each other.",
        facts=_facts(two),
        alert_heading="An experiment is not valid.",
        alert=_alert(two.sides),
        sections=found,
        plots=tuple((chart.id, chart.plot) for section in found for chart in section.all_charts),
        csv="",
    )


def two_sections(two: TwoServices) -> tuple[Section, ...]:
    """The sections in the order in which they are read."""
    compared = [pair for pair in two.pairs if pair.why_not is None]
    how_findings, how_ratios = _how_to_read(two)
    found = (
        Section(
            "key",
            "Side by side, under load",
            "Side by side",
            how_findings_are_read=how_findings,
            findings=paragraphs(two.findings),
            charts=tuple(_charts(two, compared)),
        ),
        Section(
            "doubts",
            "Validity",
            "Validity",
            "Read these caveats before you use a number.",
            caveats=tuple(_caveats(two)),
        ),
        Section(
            "table",
            "All ratios",
            "All ratios",
            how_ratios,
            tables=tuple(_table(key, two) for key in two.shown),
        ),
        Section("run", "What was run", "What was run", facts=tuple(_runs(two))),
    )
    return tuple(section for section in found if not section.is_empty)


def _how_to_read(two: TwoServices) -> tuple[str, str]:
    """How the findings and the ratios are read."""
    first, second = _names(two)
    how_findings = HOW_FINDINGS_ARE_READ.format(second)
    if CAPACITY not in two.shown:
        how_ratios = HOW_RATIOS_ARE_READ.format(first=first, second=second, of_one_page=PLAIN_MEANS)
        return f"{how_findings} {HOW_COSTS_ARE_READ}", f"{how_ratios} {HOW_ANSWERS_ARE_READ}"
    how_capacity = HOW_CAPACITY_IS_READ.format(objective_of(two.sides))
    how_ratios = HOW_RATIOS_ARE_READ.format(first=first, second=second, of_one_page=OF_ALL_STEPS)
    return f"{how_capacity} {how_findings}", how_ratios


def _names(two: TwoServices) -> tuple[str, str]:
    first, second = (side.service for side in two.sides)
    return first, second


def _facts(two: TwoServices) -> tuple[Fact, ...]:
    """What a reader has to know of both experiments; what is the same stands there once."""
    of_first, of_second = ({fact.term: fact.text for fact in facts.header_facts(one)} for one in two.analyses)
    made = [
        Fact(f"{which} service", _service(side)) for which, side in zip(("First", "Second"), two.sides, strict=True)
    ]
    for term in dict.fromkeys([*of_first, *of_second]):
        texts = [told.get(term, "not recorded") for told in (of_first, of_second)]
        if term == "Service":
            continue
        if texts[0] == texts[1]:
            made.append(Fact(term, texts[0]))
        else:
            made += [Fact(term, f"{name}: {text}") for name, text in zip(_names(two), texts, strict=True)]
    return tuple(made)


def _service(side: Side) -> str:
    asked = side.results.experiment.service
    return side.service if asked is None else f"{side.service} ({asked.method} {asked.path})"


def _runs(two: TwoServices) -> Iterator[Fact]:
    for side in two.sides:
        yield Fact(f"Folder of {side.service}", str(side.results.folder))
        yield Fact(f"Command of {side.service}", code=facts.command(side.results))


def _alert(sides: Sequence[Side]) -> str:
    """Which experiment is not valid, and why; empty if both are."""
    kinds = {side.service: dict.fromkeys(doubt.title for doubt in side.validity.invalid) for side in sides}
    return " ".join(f"{service}: {'; '.join(titles)}." for service, titles in kinds.items() if titles)


def _caveats(two: TwoServices) -> Iterator[CaveatList]:
    """What makes an experiment invalid, what to know of the two together, and the caveats of each."""
    invalid = [
        Caveat(f"{side.service}: {doubt.title}", doubt.text, "serious")
        for side in two.sides
        for doubt in side.validity.invalid
    ]
    if invalid:
        yield CaveatList("Not valid", tuple(invalid))
    yield CaveatList("Caveats of the comparison", tuple(Caveat("", text) for text in two.caveats))
    texts = [[doubt.text for doubt in side.validity.caveats] for side in two.sides]
    both = [text for text in texts[0] if text in texts[1]]
    own = zip(_names(two), ([text for text in told if text not in both] for told in texts), strict=True)
    for name, told in (("both experiments", both), *own):
        if told:
            yield CaveatList(f"Caveats of {name}", tuple(Caveat("", text) for text in told))


def _charts(two: TwoServices, compared: Sequence[Pair]) -> Iterator[Chart]:
    for place, key in enumerate(two.shown if compared else ()):
        how = f"{_how(key, is_open=compared[0].first.deployment.is_open)} {INTERVALS}"
        yield Chart(f"two-{key}", QUANTITIES[key].title, how, plot_of(two_charts.quantity(compared, _names(two), key)))
        if place == 0 and two.besides:
            chart = plot_of(two_charts.service_beside_docker(two.besides))
            yield Chart("beside", "The service beside Docker", HOW_BESIDE_IS_READ, chart)


def _how(key: str, *, is_open: bool) -> str:
    if key == "memory_mean_mb":
        return f"Compare the two services in a deployment. {MEMORY_APART}"
    if key == "throughput_per_s":
        if is_open:
            return "Requests were due at a rate, so a service that keeps up gives as many answers as were asked for."
        return "Higher is better. Each user sends its next request only after it has its answer."
    return "Higher is better." if key == CAPACITY else "Lower is better."


def _table(key: str, two: TwoServices) -> Table:
    """One quantity of all deployments that both measured."""
    quantity = QUANTITIES[key]
    title = f"{QUANTITIES[key].title}, {quantity.unit}" if quantity.unit != "/s" else QUANTITIES[key].title
    services = (Column(name, colour) for name, colour in zip(_names(two), two_charts.COLOURS, strict=True))
    columns = (Column("Run as"), *services, Column("Ratio"), Column("Verdict"))
    return Table(title, title, columns, tuple(_row(key, pair) for pair in two.pairs))


def _row(key: str, pair: Pair) -> Row:
    two = pair.quantities[key]
    ratio = Cell(_ratio(two), _rounds_and_p_value(key, pair), anchor(pair.name, key))
    verdict = Cell(verdict_in_words(two), style=f"verdict {STYLES[two.kind]}")
    return Row(pair.title, (*(_value(estimate, key) for estimate in two.values), ratio, verdict))


def _value(estimate: Estimate, key: str) -> Cell:
    digits = QUANTITIES[key].digits
    return Cell(words.number(estimate, digits), words.low_to_high(estimate, digits) if estimate.is_measured else "")


def _ratio(two: TwoSides) -> str:
    if not two.shows_ratio:
        return "not shown"
    interval = f" ({two.found.low:.2f} to {two.found.high:.2f})" if two.found.has_interval else ""
    return f"{two.found.ratio:.2f}{interval}"


def _rounds_and_p_value(key: str, pair: Pair) -> str:
    two = pair.quantities[key]
    if not two.shows_ratio:
        return ""
    first, second = (len(load.values(key)) for load in (pair.first, pair.second))
    rounds = f"{first} and {second} rounds"
    return rounds if math.isnan(two.p_value) else f"{rounds}, {words.p_value(two.p_value)}"
