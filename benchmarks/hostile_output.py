"""What became of hostile texts in an output: which stayed texts, and what got through."""

from __future__ import annotations

import csv
import io
import re
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree

HIT = "hostile"
"""A class, an attribute and a tag that only hostile texts have."""

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n")
REVERSING = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""What changes the direction of a text (Unicode, UAX 9)."""

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
MARK = re.compile(r"zq\d{4}qz")


@dataclass
class Found:
    """What was found in one kind of output: marks of texts that stayed texts, and what got through, in words."""

    marks: set[str] = field(default_factory=set)
    through: list[str] = field(default_factory=list)

    def look(self, text: str) -> None:
        self.marks |= set(MARK.findall(text))

    def refuse(self, pattern: re.Pattern[str], text: str, what: str) -> None:
        if found := pattern.search(text):
            around = text[max(0, found.start() - 40) : found.end() + 40]
            self.through.append(f"{what}: {around!a}")


class Markup(HTMLParser):
    """Reads HTML: the elements that only a hostile text can have made, and all text that is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.hits: list[str] = []
        self.text: list[str] = []
        self._is_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_script = tag in ("script", "style")
        self.hits += [f"<{tag} {name}={value}>" for name, value in attrs if _is_hit(name, value or "")]
        self.hits += [f"<{tag}>"] if tag == HIT else []

    def handle_endtag(self, tag: str) -> None:
        self._is_script = False

    def handle_data(self, data: str) -> None:
        if not self._is_script:
            self.text.append(data)


def _is_hit(name: str, value: str) -> bool:
    """Whether only a hostile text makes such an attribute. As the value of others a text is a text."""
    is_link = name in ("src", "href") and (HIT in value or MARK.search(value) is not None)
    return name == HIT or name.startswith("on") or (name == "class" and value == HIT) or is_link


def look_at_terminal(said: str) -> Found:
    found = Found()
    found.look(said)
    found.refuse(CONTROLS, said, "a control character in the terminal")
    found.refuse(REVERSING, said, "a character that reverses a line in the terminal")
    found.refuse(re.compile(f"^{HIT}", re.M), said, "a line of its own in the terminal")
    return found


def look_at_html(html: str) -> Found:
    found, markup = Found(), Markup()
    markup.feed(html)
    markup.close()
    shown = "".join(markup.text)
    found.look(shown)
    found.through += [f"an element of its own: {hit}" for hit in markup.hits]
    found.refuse(REVERSING, shown, "a character that reverses a line")
    found.refuse(CONTROLS, shown, "a control character")
    return found


def look_at_markdown(markdown: str) -> Found:
    from markdown_it import MarkdownIt

    return look_at_html(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def look_at_junit(xml: str) -> Found:
    found = Found()
    found.look(xml)
    known = {"testsuites", "testsuite", "testcase", "failure", "error", "system-out"}
    found.through += [f"an element of its own: {each.tag}" for each in ElementTree.fromstring(xml).iter()  # noqa: S314
                      if each.tag not in known]  # fmt: skip
    found.refuse(REVERSING, xml, "a character that reverses a line")
    return found


def look_at_csv(text: str) -> Found:
    """What a spreadsheet would calculate with."""
    found = Found()
    for row in csv.reader(io.StringIO(text, newline="")):
        for cell in row:
            found.look(cell)
            if cell.startswith(FORMULA_BEGINS) and not _is_number(cell):
                found.through.append(f"a formula: {cell[:60]!a}")
    return found


def _is_number(cell: str) -> bool:
    with suppress(ValueError):
        float(cell)
        return True
    return False
