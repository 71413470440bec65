"""The parts of the page. Their values are ready to be shown: the template formats nothing and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Chart:
    """A chart with its title and how to read it; ``plot`` is what Plotly draws. ``height_rem``: None is the usual one.
    ``is_wide``: it needs the whole width."""

    id: str
    title: str
    how_to_read: str
    plot: dict[str, Any]
    height_rem: float | None = None
    is_wide: bool = False


@dataclass(frozen=True)
class Value:
    """A large number, or a few large words, on a card, and the small text below. ``style``: CSS classes."""

    text: str
    detail: str
    style: str = ""


@dataclass(frozen=True)
class Card:
    """A deployment at a glance. ``counts`` says what the values were counted from; ``style``: CSS classes."""

    title: str
    colour: str
    values: tuple[Value, ...]
    counts: str = ""
    style: str = ""


@dataclass(frozen=True)
class Words:
    """A part of a sentence. It leads to ``anchor`` on the page, where there is one."""

    text: str
    anchor: str = ""


@dataclass(frozen=True)
class Paragraph:
    """A finding. ``title`` is empty where the paragraph before has the same one."""

    id: str
    title: str
    parts: tuple[Words, ...]


@dataclass(frozen=True)
class Caveat:
    """One reason to mind. ``style``: CSS classes."""

    title: str
    text: str
    style: str = ""


@dataclass(frozen=True)
class CaveatList:
    """Caveats of one kind, under their heading."""

    heading: str
    caveats: tuple[Caveat, ...]


@dataclass(frozen=True)
class Column:
    """The head of a table's column. ``colour``: that of the deployment; ``detail``: small words below, ``warning``: red
    ones."""

    title: str
    colour: str = ""
    warning: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell; ``detail`` is the small text below, ``id`` is an anchor, ``style`` are CSS classes. ``link``: the page
    that the text leads to, as an address relative to this one."""

    text: str
    detail: str = ""
    id: str = ""
    style: str = ""
    link: str = ""


@dataclass(frozen=True)
class Row:
    """A table's row; ``detail`` is the small text below its title."""

    title: str
    cells: tuple[Cell, ...]
    id: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its heading; ``label`` names it for screen readers. ``columns`` begin with that of the titles.
    ``copied``: what its button puts on the clipboard; without it there is no button. ``is_dense``: it has so many
    columns that they must be narrow."""

    heading: str
    label: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    how_to_read: str = ""
    id: str = ""
    copied: str = ""
    is_dense: bool = False


@dataclass(frozen=True)
class Tab:
    """The charts of one round's replicas; one of the tabs is open."""

    id: str
    title: str
    charts: tuple[Chart, ...]
    is_open: bool


@dataclass(frozen=True)
class Fact:
    """A term and what it was in this experiment. ``code``: a command, as it was typed."""

    term: str
    text: str = ""
    code: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading. Its contents are shown in the order of these fields; most sections have
    one or two of them. ``menu`` is its name in the navigation, ``csv_button`` the text of the button that saves the
    figures, ``how_findings_are_read`` the text above the findings."""

    id: str
    title: str
    menu: str
    how_to_read: str = ""
    csv_button: str = ""
    cards: tuple[Card, ...] = ()
    how_findings_are_read: str = ""
    findings: tuple[Paragraph, ...] = ()
    caveats: tuple[CaveatList, ...] = ()
    charts: tuple[Chart, ...] = ()
    tabs: tuple[Tab, ...] = ()
    tables: tuple[Table, ...] = ()
    facts: tuple[Fact, ...] = ()

    @property
    def all_charts(self) -> tuple[Chart, ...]:
        """The charts of the section and of its tabs."""
        return (*self.charts, *(chart for tab in self.tabs for chart in tab.charts))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show below the heading."""
        parts = (self.cards, self.findings, self.caveats, self.charts, self.tabs, self.tables, self.facts)
        return not self.how_to_read and not any(parts)


@dataclass(frozen=True)
class Page:
    """The whole page. ``heading`` is its title. ``headline`` is what was found, in one sentence; ``numbers`` are its
    numbers, a sentence for each deployment. ``note`` comes from the experiment's folder. ``alert`` says why it is not
    valid, after ``alert_heading``. ``plots`` are all charts by their ID."""

    heading: str
    name: str
    headline: str
    numbers: tuple[str, ...]
    note: str
    subject: str
    facts: tuple[Fact, ...]
    alert_heading: str
    alert: str
    sections: tuple[Section, ...]
    plots: tuple[tuple[str, dict[str, Any]], ...]
    csv: str
