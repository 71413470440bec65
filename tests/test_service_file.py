"""Service files: what they may say, what is said of a slip, and the requests that come of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import OWN, ROOT

from infra.deployments.confinement import user
from servicefile.service_file import ME, SERVICE, ServiceFile, read_service
from servicefile.texts import TextRequest, requests_of
from servicefile.toml import NotValid

THREE_LINES = 'build = "."\ncommand = "python app.py"\nport = 5000\n'


def file_of(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").touch()
    path = folder / "service.toml"
    path.write_text(text, encoding="utf-8")
    return path


def service_of(folder: Path, text: str) -> ServiceFile:
    return read_service(file_of(folder, text))


def requests(folder: Path, table: str, texts: str = "text\nGood.\n", name: str = "texts.csv") -> list[TextRequest]:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(texts, encoding="utf-8")
    said = f'{THREE_LINES}[request]\ntexts = "{name}"\n{table}\n'
    return requests_of(service_of(folder, said).request)


def test_three_lines_are_enough(tmp_path: Path) -> None:
    service = service_of(tmp_path / "My App", THREE_LINES)
    assert (service.name, service.image, service.port) == ("My App", "fourfold-my-app", 5000)
    assert service.build == service.folder == tmp_path / "My App"
    assert service.command == ("python", "app.py")
    assert service.ready == "request"
    assert not service.takes_port
    assert service.told("127.0.0.1", 5000, "host") == {}
    container = service.container
    assert (container.user, container.hardened, container.read_only) == (None, False, False)
    assert user(container) is None
    assert requests_of(service.request)[0].body == b'{"text": "This movie was fantastic!"}'
    assert len(requests_of(service.request)) == 160


def test_fourfolds_own_service_is_a_service_file_as_any_other() -> None:
    assert read_service(SERVICE) == OWN
    assert OWN.build == ROOT
    assert OWN.container.user == ME
    assert OWN.told("127.0.0.1", 5005, "host") == {"HOST": "127.0.0.1", "PORT": "5005", "REPLICA_NAME": "host"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port = 5000", "service.toml says of no deployment how it is started; add build"),
        ("build = '.'\nprot = 5000", "there is no key 'prot'; did you mean port?"),
        ("build = '.'\nport = '5000'", 'port = "5000" is not a whole number from 1 to 65535; the default is 5000'),
        (
            "build = you/image",
            "is not TOML: Invalid value (at line 1, column 9) (texts need quotes); correct that, and see",
        ),
        ("build = '.'\nport = 0", "port = 0 is not a whole number from 1 to 65535"),
        ("build = 'nowhere'", 'build = "nowhere" is not a folder with a Dockerfile (there is no folder '),
        ("command = ''", 'command = "" is not a command, such as python app.py'),
        ("command = 'python \"app.py'", "is not a command, such as python app.py (No closing quotation)"),
        (
            "command = 'a'\npython = 'no/python'",
            'python = "no/python" is not a Python, such as .venv/bin/python (',
        ),
        (
            "command = 'a'\nrequirements = 'r.txt'",
            'requirements = "r.txt" is not a requirements file (there is no file ',
        ),
        ("image = 'i'\nready = 'health'", 'ready = "health" is not "request" (the first request is answered), "port"'),
        ("image = 'i'\nready_s = 0", "ready_s = 0 is not a number of seconds from 0.1 to 86400; the default is 180.0"),
        (
            "image = 'i'\nport_variable = 'MY PORT'",
            'port_variable = "MY PORT" is not the name of an environment',
        ),
        ("image = 'i'\n[environment]\nA = 1", "environment = a table is not a table of variables, such as LOG_LEVEL"),
        ("image = 'i'\nrequest = 5", "request = 5 is not a table, such as [request]"),
        ("image = 'i'\n[request]\npath = 'infer'", '[request]: path = "infer" is not a path, such as /infer'),
        ("image = 'i'\n[request]\nmethod = 'post'", '[request]: method = "post" is not one of GET, POST, PUT'),
        ("image = 'i'\n[request]\nurl = '/'", "[request]: there is no key 'url'; [request] has method, path"),
        (
            "image = 'i'\n[request]\ntexts = 'no.csv'",
            'texts = "no.csv" is not a file of texts (CSV with a header, or',
        ),
        ("image = 'i'\n[request]\nheaders = {Host = 'a'}", "headers = a table is not a table of headers"),
        (
            "image = 'i'\n[request]\nstatus = 20",
            "status = 20 is not a whole number from 100 to 599; the default is",
        ),
        ("image = 'i'\n[request]\nanswer_has = '('", "is not a text or a regular expression that each answer has ("),
        ("image = 'i'\n[metrics]\nfolder = 'app'", '[metrics]: folder = "app" is not a folder in the container'),
        ("image = 'i'\n[container]\nmounts = ['x']", 'mounts = "x" is not a mount, such as FOLDER:/data'),
        ("image = 'i'\n[container]\nread_only = 1", "read_only = 1 is not true or false; the default is False"),
        ("image = 'i'\n[compose]\nservice = 'web'", "[compose]: file is missing"),
        ("image = 'i'\n[compose]\nfile = 'c.yml'", 'file = "c.yml" is not a Compose file (there is no file '),
        ("image = 'i", "is not TOML: "),
    ],
)
def test_a_slip_is_named_with_what_would_be_right(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(NotValid) as slip:
        service_of(tmp_path, text)
    assert expected in str(slip.value)
    assert "service.toml" in str(slip.value)


def test_python_or_requirements_but_not_both(tmp_path: Path) -> None:
    (tmp_path / "r.txt").touch()
    (tmp_path / "python").touch()
    with pytest.raises(NotValid, match="python and requirements are both there"):
        service_of(tmp_path, 'command = "python app.py"\npython = "python"\nrequirements = "r.txt"')


def test_a_file_that_is_not_there_is_named_with_one_to_start_from(tmp_path: Path) -> None:
    with pytest.raises(NotValid, match=r"there is no service file .*nowhere\.toml; inference/service\.toml is one"):
        read_service(tmp_path / "nowhere.toml")


def test_the_fields_of_a_text_take_their_places(tmp_path: Path) -> None:
    (first, second) = requests(
        tmp_path,
        'path = "/v1/$lang/classify?text=$text&k=$$"\nbody = {a = ["$text", "($lang)"], n = 1}',
        'lang,text\nen,"Fish & chips, ""good"""\nde,Größe\n',
    )
    assert first.target == b"/v1/en/classify?text=Fish%20%26%20chips%2C%20%22good%22&k=$"
    assert second.target == b"/v1/de/classify?text=Gr%C3%B6%C3%9Fe&k=$"
    assert json.loads(first.body) == {"a": ['Fish & chips, "good"', "(en)"], "n": 1}
    assert (first.text_id, second.text_id) == (1, 2)


def test_json_lines_keep_their_types_and_a_get_has_no_body(tmp_path: Path) -> None:
    lines = '{"q": "a", "k": 3, "tags": ["x"]}\n\n{"q": "b", "k": 4.5, "tags": []}\n'
    (first, second) = requests(tmp_path, 'body = {query = "$q", top = "$k", tags = "$tags"}', lines, "texts.jsonl")
    assert json.loads(first.body) == {"query": "a", "top": 3, "tags": ["x"]}
    assert json.loads(second.body) == {"query": "b", "top": 4.5, "tags": []}
    (asked, _) = requests(tmp_path, 'method = "GET"\npath = "/?q=$q&k=$k"', lines, "texts.jsonl")
    assert (asked.target, asked.body) == (b"/?q=a&k=3", b"")


def test_a_form_is_written_as_a_form(tmp_path: Path) -> None:
    form = 'headers = {Content-Type = "application/x-www-form-urlencoded"}\nbody = "text=$text&x=1"'
    (asked,) = requests(tmp_path, form, "text\nA & B\n")
    assert asked.body == b"text=A+%26+B&x=1"
    (plain,) = requests(tmp_path, 'headers = {Content-Type = "text/plain"}\nbody = "$text"', "text\nA & B\n")
    assert plain.body == b"A & B"


@pytest.mark.parametrize(
    ("table", "texts", "name", "expected"),
    [
        ('body = {q = "$query"}', "text\na\n", "t.csv", r"the request names \$query, and text 1 of .*t\.csv has text"),
        (
            'body = "cost: $ 5"',
            "text\na\n",
            "t.csv",
            r"there is a \$ without a name behind it; write \$\$ for",
        ),
        ("", "text\n", "t.csv", "has no texts; add a header line"),
        ("", "", "t.csv", "has no texts"),
        ("", "id,text\n1,a,b\n", "t.csv", r"text 1 has not 2 fields .* put a text that has commas in quotes"),
        ("", "id,text\n1\n", "t.csv", "text 1 has not 2 fields"),
        ("", '{"text": "a"}\n{"text"\n', "t.jsonl", r"t\.jsonl, line 2 is not JSON: "),
        ("", "[1]\n", "t.jsonl", r"t\.jsonl, line 1 is not a JSON object"),
    ],
)
def test_texts_that_do_not_fit_the_request_are_refused(
    tmp_path: Path, table: str, texts: str, name: str, expected: str
) -> None:
    with pytest.raises(NotValid, match=expected):
        requests(tmp_path, table, texts, name)


def test_texts_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"text\nGr\xf6\xdfe\n")
    service = service_of(tmp_path, f'{THREE_LINES}[request]\ntexts = "t.csv"')
    with pytest.raises(NotValid, match=r"t\.csv is not UTF-8 \(invalid start byte at byte 7\); save it as UTF-8"):
        requests_of(service.request)
