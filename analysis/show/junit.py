"""What was found, as JUnit XML, which CI systems show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """One thing that was looked at. ``failure``: what is wrong; ``error``: why it could not be told."""

    suite: str
    name: str
    failure: str | None = None
    error: str | None = None
    said: str = ""


def render_junit(cases: Sequence[Case]) -> str:
    """The cases, by their suites."""
    root = ElementTree.Element("testsuites")
    for name in dict.fromkeys(one.suite for one in cases):
        own = [one for one in cases if one.suite == name]
        counts = {
            "failures": sum(one.failure is not None for one in own),
            "errors": sum(one.error is not None for one in own),
        }
        suite = ElementTree.SubElement(root, "testsuite", name=_text(name), tests=str(len(own)))
        suite.attrib.update({key: str(value) for key, value in counts.items()})
        for one in own:
            case = ElementTree.SubElement(suite, "testcase", classname=_text(name), name=_text(one.name))
            for kind, text in (("failure", one.failure), ("error", one.error)):
                if text is not None:
                    ElementTree.SubElement(case, kind, message=_text(text))
            if one.said:
                ElementTree.SubElement(case, "system-out").text = _text(one.said)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _text(text: str) -> str:
    """Without the characters that XML can't hold."""
    return NOT_XML.sub("?", text)
