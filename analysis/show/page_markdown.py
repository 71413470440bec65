"""A page as Markdown: that of two services, or of a grid."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.show.elements import CaveatList, Fact, Page, Section
from analysis.show.markdown import code, safe, table_lines


def page_as_markdown(page: Page) -> str:
    """All but the charts. Texts from outside can't become Markdown or HTML of their own."""
    lines = [*_head(page), *(line for section in page.sections for line in _section(section))]
    return "\n".join(lines) + "\n"


def _head(page: Page) -> Iterator[str]:
    yield from (f"# Fourfold: {safe(page.name)}", "")
    for text in (page.headline, " ".join(page.numbers), page.note):
        yield from (safe(text), "") if text else ()
    yield from (f"**{page.alert_heading}** {safe(page.alert)}", "") if page.alert else ()
    yield from map(_fact, page.facts)


def _section(section: Section) -> Iterator[str]:
    yield from ("", f"## {section.title}")
    for text in (section.how_to_read, section.how_findings_are_read):
        yield from ("", safe(text)) if text else ()
    if section.findings:
        yield ""
    for finding in section.findings:
        title = f"**{finding.title}.** " if finding.title else ""
        yield f"- {title}{safe(''.join(part.text for part in finding.parts))}"
    for caveats in section.caveats:
        yield from _caveats(caveats)
    for table in section.tables:
        yield from table_lines(table)
    yield from ("", *map(_fact, section.facts)) if section.facts else ()


def _caveats(caveats: CaveatList) -> Iterator[str]:
    yield from ("", f"### {safe(caveats.heading)}", "")
    for caveat in caveats.caveats:
        title = f"**{safe(caveat.title)}**: " if caveat.title else ""
        yield f"- {title}{safe(caveat.text)}"


def _fact(fact: Fact) -> str:
    return f"- **{safe(fact.term)}**: {f'`{code(fact.code)}`' if fact.code else safe(fact.text)}"
