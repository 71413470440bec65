"""The texts that are sent, and the request for each of them."""

from __future__ import annotations

import csv
import hashlib
import json
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from runfiles.lines import printable
from servicefile.service_file import Request
from servicefile.toml import NotValid

MOST_TEXTS_BYTES = 100 * 10**6
MOST_BEGINNING = 40
"""So many characters of a text are shown to people."""

JSON_LINES = (".jsonl", ".ndjson")
SENT_AS_IT_IS = "/?%:@!$&'()*+,;=~"
"""What may stand in a path and a query (RFC 3986, 3.3 and 3.4)."""

FORM = "application/x-www-form-urlencoded"

Fields = Mapping[str, Any]
"""A text: a row of a CSV file, or an object of JSON lines."""


@dataclass(frozen=True, slots=True)
class TextRequest:
    """The request for one text. ``text_id``: its number in the file, from 1. ``target``: path and query, as they are
    sent. ``begins``: the first words of what the request takes from the text, for people."""

    text_id: int
    target: bytes
    body: bytes
    begins: str


def requests_of(request: Request) -> list[TextRequest]:
    """The request for each text, in the order of the file.

    Raises:
        NotValid: the file can't be read, or a text lacks a field that the request names.
    """
    names = _names_in(request)
    return [_request(request, names, number, fields) for number, fields in enumerate(read_texts(request.texts), 1)]


def read_texts(path: Path) -> list[Fields]:
    """The texts of a CSV file with a header, or of JSON lines.

    Raises:
        NotValid: it can't be read, or has no texts.
    """
    try:
        if path.stat().st_size > MOST_TEXTS_BYTES:
            raise NotValid(f"{path} is larger than {MOST_TEXTS_BYTES / 1e6:.0f} MB; name a file with fewer texts")
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NotValid(f"the texts can't be read: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NotValid(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    texts = _json_lines(path, content) if path.suffix.lower() in JSON_LINES else _csv(path, content)
    if not texts:
        raise NotValid(f"{path} has no texts; add a header line, and a line for each text")
    return texts


def digest(path: Path) -> str:
    """The SHA-256 of a file of texts. An editor or Git may change the line ends: the digest stays the same."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _csv(path: Path, content: str) -> list[Fields]:
    try:
        reader = csv.DictReader(content.splitlines(keepends=True), strict=True)
        rows = list(reader)
    except csv.Error as error:
        raise NotValid(f"{path}, line {reader.line_num}: {error}; correct that line") from error
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            columns = len(reader.fieldnames or ())
            raise NotValid(
                f"{path}: text {number} has not {columns} fields as the header has; put a text that has commas in "
                "quotes"
            )
    return [dict(row) for row in rows]


def _json_lines(path: Path, content: str) -> list[Fields]:
    texts: list[Fields] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise NotValid(f"{path}, line {number} is not JSON: {error}; correct that line") from error
        if not isinstance(said, dict):
            raise NotValid(f'{path}, line {number} is not a JSON object, such as {{"text": "..."}}')
        texts.append(said)
    return texts


def _names_in(request: Request) -> list[str]:
    """The fields of a text that the request names."""
    body = request.body if isinstance(request.body, str) else json.dumps(request.body)
    return string.Template(f"{request.path} {body if request.method != 'GET' else ''}").get_identifiers()


def _beginning(fields: Fields, names: Sequence[str]) -> str:
    line = ", ".join(printable(_written(fields[name])[:MOST_BEGINNING]) for name in names if name in fields)
    return line if len(line) < MOST_BEGINNING else f"{line[:MOST_BEGINNING]} ..."


def _request(request: Request, names: Sequence[str], number: int, fields: Fields) -> TextRequest:
    try:
        target = quote(_filled(request.path, fields, lambda text: quote(text, safe="")), safe=SENT_AS_IT_IS).encode()
        return TextRequest(number, target, _body(request, fields), _beginning(fields, names))
    except KeyError as error:
        has = ", ".join(map(str, fields))
        raise NotValid(f"the request names ${error.args[0]}, and text {number} of {request.texts} has {has}") from None
    except ValueError:
        raise NotValid(
            f"in the request to {request.path} there is a $ without a name behind it; write $$ for a dollar"
        ) from None


def _body(request: Request, fields: Fields) -> bytes:
    if request.method == "GET":
        return b""
    if not isinstance(request.body, str):
        return json.dumps(_filled_json(request.body, fields), ensure_ascii=False).encode()
    content_type = next((value for name, value in request.headers.items() if name.lower() == "content-type"), "")
    is_form = content_type.partition(";")[0].strip().lower() == FORM
    return _filled(request.body, fields, quote_plus if is_form else str).encode()


def _filled_json(value: Any, fields: Fields) -> Any:
    """The same with the fields in their places. A text that is one ``$NAME`` keeps that field's type."""
    if isinstance(value, dict):
        return {key: _filled_json(content, fields) for key, content in value.items()}
    if isinstance(value, list):
        return [_filled_json(content, fields) for content in value]
    if not isinstance(value, str):
        return value
    name = value.removeprefix("$")
    if len(name) == len(value) - 1 and name.isidentifier():
        return fields[name]
    return _filled(value, fields, str)


def _filled(template: str, fields: Fields, escape: Callable[[str], str]) -> str:
    """
    Raises:
        KeyError: there is no such field.
        ValueError: a dollar has no name behind it.
    """
    if "$" not in template:
        return template
    return string.Template(template).substitute(_Escaped(fields, escape))


class _Escaped(dict[str, str]):
    """The fields, each written as its place needs it."""

    def __init__(self, fields: Fields, escape: Callable[[str], str]) -> None:
        super().__init__()
        self._fields = fields
        self._escape = escape

    def __missing__(self, name: str) -> str:
        return self._escape(_written(self._fields[name]))


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
