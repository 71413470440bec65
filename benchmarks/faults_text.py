"""Hostile texts in all places of a recorded run that take any text: what becomes of them in all that Fourfold writes.

A copy of a recorded run gets them, one in each place. Each has a mark of its own, by which it is found again.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.faults_outcome import Fault, Outcome
from benchmarks.hostile_output import (
    HIT,
    Found,
    look_at_csv,
    look_at_html,
    look_at_junit,
    look_at_markdown,
    look_at_terminal,
)
from benchmarks.needs import why_no_packages
from infra.environment import for_python
from infra.errors import DeploymentError
from runfiles.columns import JSON, REPLICA_EVENTS_COLUMNS, REPLICA_STATS_COLUMNS, REQUEST_COLUMNS, Column
from runfiles.events import OPTION
from runfiles.files import (
    EXPERIMENT_FILE,
    LOAD,
    NOTE_FILE,
    REPLICA_EVENTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
)

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "examples" / "mesh-keep-alive"
RUN = f"swarm-3/round-1/{LOAD}"

SCRIPT = "window.hostile = (window.hostile || 0) + 1"
LONG = 1_000_000

KINDS: Mapping[str, Callable[[str], str]] = {
    "HTML": lambda mark: f'<img src=x class={HIT} onerror="{SCRIPT}">{mark}',
    "script": lambda mark: f"</script><script class={HIT}>{SCRIPT}</script>{mark}",
    "attribute": lambda mark: f"\"'><b {HIT}={mark} onmouseover='{SCRIPT}'>{mark}",
    "template": lambda mark: f"{{{{ 7 * 7 }}}}{{% raw %}}${{{SCRIPT}}}{mark}",
    "ANSI escape": lambda mark: f"\x1b[2J\x1b]0;title\x07\x1b[31m{mark}\x9b2J\r",
    "line break": lambda mark: f"{mark}\n{HIT}: the experiment is valid",
    "right-to-left": lambda mark: f"\u202e{mark}\u2066\u200f",
    "formula": lambda mark: f'=HYPERLINK("http://127.0.0.1/{mark}";"{mark}")',
    "formula with a sign": lambda mark: f"-2+3+cmd|' /C calc'!{mark}",
    "formula with @": lambda mark: f"@SUM(1){mark}",
    "formula after a tab": lambda mark: f"\t=1+{mark}",
    "Markdown": lambda mark: f"[{mark}](javascript:{HIT}) ![{mark}](http://127.0.0.1/{HIT}.png) | `<{HIT}>` **{mark}**",
    "Rich": lambda mark: f"[bold red]{mark}[/] [link=http://127.0.0.1/{HIT}]x[/link]",
    "XML": lambda mark: f"]]><{HIT}>{mark}</{HIT}>&{HIT};\x00",
    "1 MB": lambda mark: f"{mark} {'x' * LONG}",
}
"""What a text tries -> the text with this mark."""

TURNS_SHORT = 1
"""Each turn has all kinds, in other places."""

CSV_FILES: Mapping[str, tuple[Column, ...]] = {
    f"{RUN}{REQUESTS_SUFFIX}": REQUEST_COLUMNS,
    f"{RUN}{REPLICA_STATS_SUFFIX}": REPLICA_STATS_COLUMNS,
    f"{RUN}{REPLICA_EVENTS_SUFFIX}": REPLICA_EVENTS_COLUMNS,
}
DOWNLOAD = "import sys; from _live import for_spreadsheets; from pathlib import Path\n"
DOWNLOAD += "sys.stdout.reconfigure(newline=''); sys.stdout.writelines(for_spreadsheets(Path(sys.argv[1])))"


# ---- places ----------------------------------------------------------------------------------------------------------

Place = tuple[str, tuple[str | int, ...]]
"""A file of the run, and where in it: the keys of a record, or row and column of a CSV file; of the note, nothing."""


def places_of(folder: Path) -> list[Place]:
    """All places of a run that may take a text."""
    places: list[Place] = [(NOTE_FILE, ())]
    for name in (EXPERIMENT_FILE, f"{RUN}{RUN_RECORD_SUFFIX}"):
        places += [(name, keys) for keys in _leaves(json.loads((folder / name).read_text(encoding="utf-8")))]
    for name, columns in CSV_FILES.items():
        header, *rows = _csv_rows(folder / name)
        texts = [column.name for column in columns if column.unit.is_text and not column.unit.words]
        texts = [each for each in texts if each in header and each not in _JSON_COLUMNS]
        places += [(name, (1 + place % len(rows), header.index(text))) for place, text in enumerate(texts, 5)]
    return places


_JSON_COLUMNS = {column.name for column in REPLICA_STATS_COLUMNS if column.unit is JSON}


def _leaves(record: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where in a record there is a text, or nothing."""
    if at and (record is None or isinstance(record, str)):
        yield at
    inner = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in inner:
        yield from _leaves(value, (*at, key))


def put(folder: Path, place: Place, text: str) -> None:
    """Put a text into a place."""
    path, keys = folder / place[0], place[1]
    if not keys:
        path.write_text(text, encoding="utf-8")
    elif path.suffix == ".json":
        record = json.loads(path.read_text(encoding="utf-8"))
        at = record
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = text
        path.write_text(json.dumps(record), encoding="utf-8")
    else:
        rows = _csv_rows(path)
        row, column = keys
        rows[int(row)][int(column)] = text
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _csv_rows(path: Path) -> list[list[str]]:
    csv.field_size_limit(2 * LONG)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def recorded(folder: Path) -> Path:
    """A copy of the recorded run, in which also the lists have a text that a run without trouble does not write."""
    shutil.copytree(RECORDED, folder)
    path = folder / f"{RUN}{RUN_RECORD_SUFFIX}"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["replicas"]["problems"] = [""]
    record["faults"] = [{"kind": OPTION, "text": ""}]
    path.write_text(json.dumps(record), encoding="utf-8")
    return folder


def fill(folder: Path, turn: int) -> dict[str, str]:
    """Put a hostile text into each place that takes one: mark -> its kind. A place that takes none stays as it is; each
    ``turn`` gives a place another kind."""
    kinds, written = list(KINDS.items()), {}
    for number, place in enumerate(places_of(folder)):
        kind, text = kinds[(number + turn) % len(kinds)]
        mark = f"zq{number:04d}qz"
        before = (folder / place[0]).read_bytes()
        put(folder, place, text(mark))
        if is_read(folder):
            written[mark] = kind
        else:
            (folder / place[0]).write_bytes(before)
    return written


def is_read(folder: Path) -> bool:
    """Whether all of the run is read."""
    from analysis.read.records import UnreadableResults
    from analysis.read.results import read_results

    with suppress(UnreadableResults):
        found = read_results(folder).deployments
        return not any(each.unread for deployment in found for each in deployment.rounds)
    return False


# ---- outputs ---------------------------------------------------------------------------------------------------------


def look_at_page_in_browser(page: Path) -> Found:
    """Open the page in Chromium: whether a script of a hostile text ran, or made an element."""
    from benchmarks.scale import browser

    found = Found()
    with browser() as chromium:
        tab = chromium.new_page()

        def refuse(dialog: Any) -> None:
            found.through.append("a dialog")
            dialog.dismiss()

        tab.on("dialog", refuse)
        tab.on("request", lambda asked: found.through.append(asked.url[:80]) if not _is_own(asked.url) else None)
        tab.goto(page.as_uri())
        tab.wait_for_function("document.documentElement.dataset.drawn === 'yes'", timeout=60_000)
        if ran := tab.evaluate("window.hostile || 0"):
            found.through.append(f"{ran} scripts ran in Chromium")
        if made := tab.evaluate(f"document.querySelectorAll('.{HIT}, [{HIT}], {HIT}').length"):
            found.through.append(f"{made} elements in Chromium")
        found.look(tab.evaluate("document.body.textContent"))
    return found


def _is_own(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:"))


# ---- the fault -------------------------------------------------------------------------------------------------------


def measure(short: bool) -> Outcome:
    """Write all outputs of runs with hostile texts, and read them back."""
    from benchmarks.scale import why_no_browser

    no_browser = why_no_browser()
    texts = 0
    counts: dict[str, int] = {}
    broken: list[str] = []
    for turn in range(TURNS_SHORT if short else len(KINDS)):
        with TemporaryDirectory(prefix="fourfold-") as name:
            folder = recorded(Path(name) / "run")
            written = fill(folder, turn)
            texts += len(written)
            for output, found in outputs_of(folder, Path(name), has_browser=no_browser is None).items():
                counts[output] = counts.get(output, 0) + len(found.marks & set(written))
                broken += [f"{output}: {what}." for what in found.through]
    figures: dict[str, object] = {"hostile texts written": texts, "kinds": len(KINDS)}
    figures |= {f"read back as text, {output}": count for output, count in counts.items()}
    figures["got through"] = len(broken)
    if no_browser is not None:
        figures["Chromium"] = f"not looked at: {no_browser}"
    return Outcome(figures, tuple(dict.fromkeys(broken)))


def outputs_of(folder: Path, beside: Path, *, has_browser: bool) -> dict[str, Found]:
    """All that is made of a run, and what was found in it.

    Raises:
        DeploymentError: an output could not be made.
    """

    page, markdown, junit = beside / "page.html", beside / "page.md", beside / "junit.xml"
    said = _analyse(folder, "--output", str(page), "--junit", str(junit))
    said += _analyse(folder, "--format", "markdown", "--output", str(markdown))
    html = page.read_text(encoding="utf-8")
    found = {
        "terminal": look_at_terminal(said),
        "page": look_at_html(html),
        "Markdown": look_at_markdown(markdown.read_text(encoding="utf-8")),
        "JUnit": look_at_junit(junit.read_text(encoding="utf-8")),
        "figures as CSV": look_at_csv(_figures_csv(html)),
        "downloads of the web UI": Found(),
    }
    for name in CSV_FILES:
        download = look_at_csv(_download(folder / name))
        found["downloads of the web UI"].marks |= download.marks
        found["downloads of the web UI"].through += download.through
    if has_browser:
        found["page in Chromium"] = look_at_page_in_browser(page)
    return found


def _figures_csv(html: str) -> str:
    """The CSV file that the page offers."""
    told = re.search(r"^const figuresCsv = (\".*\");$", html, re.M)
    return json.loads(told[1]) if told else ""


def _analyse(folder: Path, *arguments: str) -> str:
    """What ``python -m analysis`` says in the terminal."""
    done = _python("-m", "analysis", str(folder), *arguments)
    if done.returncode not in (0, 3):
        raise DeploymentError(f"python -m analysis ended with exit code {done.returncode}: {done.stderr[-1000:]}")
    return done.stdout + done.stderr


def _download(path: Path) -> str:
    """A file of a run, as the web UI gives it to be saved."""
    done = _python("-c", DOWNLOAD, str(path), more={"PYTHONPATH": f"{ROOT}:{ROOT / 'locustfiles'}"})
    if done.returncode != 0:
        raise DeploymentError(f"the web UI's download of {path.name} failed: {done.stderr[-1000:]}")
    return done.stdout


def _python(*arguments: str, more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=for_python() | (more or {}), capture_output=True, check=False
    )
    out, err = (stream.decode("utf-8", errors="backslashreplace") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def why_not() -> str | None:
    return why_no_packages("pandas", "plotly", "jinja2", "flask", "markdown_it")


FAULTS: Sequence[Fault] = (
    Fault(
        "hostile-text",
        "Names, errors and records hold HTML, scripts, escape sequences, formulae, right-to-left marks, or 1 MB",
        "They stay text in the terminal, the page, Markdown, JUnit and all CSV files; no script runs.",
        measure,
        why_not,
    ),
)
