"""The checks and verdicts as JUnit XML, which CI systems show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from runfiles.lines import visible

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """One check. ``failure``: what is wrong; ``error``: why it could not be checked; ``said``: what was found."""

    suite: str
    name: str
    failure: str | None = None
    error: str | None = None
    said: str = ""


def render_junit(cases: Sequence[Case]) -> str:
    """The cases as XML, those of one suite together."""
    root = ElementTree.Element("testsuites")
    for name in dict.fromkeys(case.suite for case in cases):
        own = [case for case in cases if case.suite == name]
        counts = {
            "failures": sum(case.failure is not None for case in own),
            "errors": sum(case.error is not None for case in own),
        }
        suite = ElementTree.SubElement(root, "testsuite", name=_text(name), tests=str(len(own)))
        suite.attrib.update({key: str(value) for key, value in counts.items()})
        for case in own:
            element = ElementTree.SubElement(suite, "testcase", classname=_text(name), name=_text(case.name))
            for kind, text in (("failure", case.failure), ("error", case.error)):
                if text is not None:
                    ElementTree.SubElement(element, kind, message=_text(text))
            if case.said:
                ElementTree.SubElement(element, "system-out").text = _text(case.said)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _text(text: str) -> str:
    """The text without the characters that XML can't hold, or that reverse what follows."""
    return visible(NOT_XML.sub("?", text))
