"""Locust's web UI shows the replicas while a run goes on: a table in a tab, a page of charts, and the files."""

from __future__ import annotations

import csv
import io
import itertools
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, render_template_string, request
from plotly.offline import get_plotlyjs

from runfiles.events import ENDED, NOT_SAMPLED

from _live_changes import SAFE_HEADERS, LiveChanges, add_changes, why_foreign

if TYPE_CHECKING:  # importing Locust patches sockets, which reading figures does not need
    from locust.env import Environment

PAGE = Path(__file__).with_name("live.html.j2")

SHOWN_S = 120.0
"""The charts show this much of the run."""

LEAST_STEP_S = 1.0
"""Between two points of a line. Samples in between are not drawn."""

TITLES = {
    "replica": "Replica",
    "node": "Node",
    "state": "State",
    "requests": "Requests",
    "share": "Share %",
}
SAMPLED = {
    "cpu": ("CPU %", "cpu_percent", 1.0),
    "memory": ("Memory MB", "memory_bytes", 1e-6),
    "received": ("In kB/s", "net_rx_bytes_per_s", 1e-3),
    "sent": ("Out kB/s", "net_tx_bytes_per_s", 1e-3),
}
"""Column of the table -> its title, the column of ``REPLICA_STATS_COLUMNS`` that it shows, and by what that is
multiplied. They follow the columns of ``TITLES``."""

CHARTS = {
    "cpu": (("cpu_percent",), 1.0),
    "memory": (("memory_bytes",), 1e-6),
    "network": (("net_rx_bytes_per_s", "net_tx_bytes_per_s"), 1e-3),
}
"""Chart -> the columns of ``REPLICA_STATS_COLUMNS`` whose sum it shows, and by what that is multiplied."""

FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes a cell that begins with one of these for a formula (OWASP, CSV injection)."""

ROWS_AT_ONCE = 500
"""A download is read in pieces of this many rows. Between two pieces the load goes on."""

LONGEST_CELL = 2**31 - 1
"""An error of a service may be longer than the 128 KiB that Python's csv module reads by itself."""

NOT_MEASURED = "not measured"
FILES = {
    "replica_stats": "Replicas: samples",
    "replica_events": "Replicas: events",
    "requests": "Requests: one by one",
    "machine_stats": "Machine: samples",
}


@dataclass(frozen=True)
class Seen:
    """A replica as it was last seen.

    Args:
        last: its last sample, a row of ``REPLICA_STATS_COLUMNS``; empty: no sample was taken of it.
        answers: how many requests it has answered without an error.
        is_up: True: it runs and is sampled. False: it has ended. None: that is not known now.
    """

    name: str
    last: Mapping[str, Any]
    answers: int
    is_up: bool | None


class Live:
    """The data of a run that is shown: the last samples of each replica, and how often each replica answered.

    ``deployment`` gives the kind of ``--replicas`` that is sampled, such as ``swarm``; empty: none was found so far.
    ``changes`` are those that were made in the web UI, as rows of ``PREFIX_changes.csv``.
    """

    def __init__(self, files: Mapping[str, Path], flush: Callable[[], None], deployment: Callable[[], str]) -> None:
        self.files = files
        self.flush = flush
        self.deployment = deployment
        self.started_at_s = time.time()
        self.ended_at_s = float("inf")
        self.changes: list[dict[str, Any]] = []
        self._samples: dict[str, deque[dict[str, Any]]] = {}
        self._answers: dict[str, Counter[int]] = {}  # by second, of the last minutes
        self._answered: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._last_events: dict[str, str] = {}

    def add_event(self, row: Mapping[str, Any]) -> None:
        """Note a row of ``PREFIX_replica_events.csv``."""
        if row["replica_id"]:
            self._last_events[row["replica_id"]] = row["event"]

    def add_sample(self, row: Mapping[str, Any]) -> None:
        self._names[row["replica_id"]] = row["replica"]
        kept = self._samples.setdefault(row["replica"], deque())
        if kept and row["sampled_at_unix_s"] - kept[-1]["sampled_at_unix_s"] < LEAST_STEP_S:
            return
        if kept and row["cpu_percent"] is None:
            return
        kept.append(dict(row))
        while kept[0]["sampled_at_unix_s"] < row["sampled_at_unix_s"] - SHOWN_S:
            kept.popleft()

    def add_answers(self, answers: Mapping[str, Mapping[int, int]]) -> None:
        """Note how many requests each replica answered, by the second in which they were over."""
        for replica, seconds in answers.items():
            self._answered[replica] += sum(seconds.values())
            kept = self._answers.setdefault(replica, Counter())
            kept.update(seconds)
            if len(kept) > 3 * SHOWN_S:
                shown_from = max(seconds) - 2 * SHOWN_S
                self._answers[replica] = Counter({at: count for at, count in kept.items() if at >= shown_from})

    def replicas(self) -> list[Seen]:
        """All replicas that answered or were sampled, by name."""
        answered: Counter[str] = Counter()
        for said, count in self._answered.items():
            answered[self._names.get(said, said)] += count
        return [
            Seen(name, self._samples[name][-1] if name in self._samples else {}, answered[name], self._is_up(name))
            for name in sorted(set(answered) | set(self._samples))
        ]

    def table(self) -> list[dict[str, Any]]:
        """A row for each replica, as the tab shows it. A cell says so if its value was not measured."""
        replicas = self.replicas()
        total = sum(replica.answers for replica in replicas)
        return [
            {
                "replica": replica.name,
                "node": replica.last.get("node") or "-",
                "state": replica.last.get("state") or "-",
                "requests": replica.answers,
                "share": round(replica.answers / total * 100, 1) if total else "-",
                **{key: _shown(replica.last.get(column), scale) for key, (_, column, scale) in SAMPLED.items()},
            }
            for replica in replicas
        ]

    def series(self) -> dict[str, dict[str, dict[str, list[float | None]]]]:
        """Chart -> replica -> seconds of the run and values, for the last ``SHOWN_S``."""
        charts: dict[str, dict[str, dict[str, list[float | None]]]] = {chart: {} for chart in (*CHARTS, "requests")}
        for name, kept in self._samples.items():
            x = [round(sample["sampled_at_unix_s"] - self.started_at_s, 1) for sample in kept]
            for chart, (columns, scale) in CHARTS.items():
                charts[chart][name] = {"x": x, "y": [_sum(sample, columns, scale) for sample in kept]}
        now = int(min(time.time(), self.ended_at_s))
        seconds = range(max(int(self.started_at_s), now - int(SHOWN_S)), now)
        for name, counts in self._answers_by_name().items():
            x = [second - int(self.started_at_s) for second in seconds]
            charts["requests"][name] = {"x": x, "y": [counts[second] for second in seconds]}
        return charts

    def _is_up(self, name: str) -> bool | None:
        if name not in self._samples or self.ended_at_s < float("inf"):
            return None
        event = self._last_events.get(self._samples[name][-1]["replica_id"])
        return None if event == NOT_SAMPLED else event != ENDED

    def _answers_by_name(self) -> dict[str, Counter[int]]:
        """The counts by replica name. A container without a name of its own answers with its ID."""
        found: dict[str, Counter[int]] = {}
        for said, counts in self._answers.items():
            found.setdefault(self._names.get(said, said), Counter()).update(counts)
        return found


def show_live(environment: Environment, current: Callable[[], Live | None], changes: LiveChanges | None) -> None:
    """Add the tab, the page and the files to the web UI. ``current`` gives the run that is shown; None before a run.

    ``changes`` makes the changes that the page has buttons for; None: it has none.
    """
    web = environment.web_ui
    if web is None:
        return
    base = base_path(environment)
    pages = Blueprint("fourfold", __name__, url_prefix=base or None)
    titles = TITLES | {key: title for key, (title, _, _) in SAMPLED.items()}
    web.template_args["extended_tabs"] = [{"title": "Replicas", "key": "replicas"}]
    web.template_args["extended_tables"] = [
        {"key": "replicas", "structure": [{"key": key, "title": title} for key, title in titles.items()]}
    ]
    files = FILES | ({"changes": "Replicas: changes"} if changes else {})
    web.template_args["extended_csv_files"] = [
        {"href": f"{base}/replicas/{name}.csv", "title": f"Download {title} CSV"} for name, title in files.items()
    ] + [{"href": f"{base}/replicas", "title": f"Replicas: live charts{' and changes' if changes else ''}"}]

    _add_charts(pages, web, base, current, changes)
    if changes is not None:
        add_changes(pages, web, changes)
    _add_downloads(pages, web, current)
    _add_table(web, base, current)
    web.app.register_blueprint(pages)


def base_path(environment: Environment) -> str:
    """What the paths of the web UI begin with (``--web-base-path``), without a slash at its end."""
    return (environment.parsed_options.web_base_path or "").rstrip("/") if environment.parsed_options else ""


def _add_charts(
    pages: Blueprint, web: Any, base: str, current: Callable[[], Live | None], changes: LiveChanges | None
) -> None:
    """The page of charts, its data, and the script that draws them."""

    @pages.route("/replicas")
    @web.auth_required_if_enabled
    def charts() -> Response:
        if changes is None:
            return Response(render_template_string(PAGE.read_text(encoding="utf-8"), base=base))
        if reason := why_foreign(dict(request.headers), request.scheme, changes.web_host, is_change=False):
            return Response(reason, 403, mimetype="text/plain")
        page = render_template_string(PAGE.read_text(encoding="utf-8"), base=base, token=changes.token)
        return Response(page, headers=SAFE_HEADERS)

    @pages.route("/replicas/plotly.js")
    @web.auth_required_if_enabled
    def plotly() -> Response:
        return Response(get_plotlyjs(), mimetype="text/javascript", headers={"Cache-Control": "max-age=86400"})

    @pages.route("/replicas/data")
    @web.auth_required_if_enabled
    def data() -> Response:
        live = current()
        shown = {"charts": live.series() if live else {}, "table": live.table() if live else []}
        return jsonify(shown if changes is None else shown | {"changes": changes.shown()})


def _add_downloads(pages: Blueprint, web: Any, current: Callable[[], Live | None]) -> None:
    """The files of the run."""

    @pages.route("/replicas/<name>.csv")
    @web.auth_required_if_enabled
    def file(name: str) -> Response:
        live = current()
        if live is None or name not in live.files:
            # Returned, not raised: with --web-login Locust turns what is raised into a page of status 200.
            return Response("no run has begun yet", 404, mimetype="text/plain")
        live.flush()
        path = live.files[name]
        if not path.is_file():
            return Response(f"{path} is not there any more", 404, mimetype="text/plain")
        answer = Response(for_spreadsheets(path), mimetype="text/csv")
        answer.headers.set("Content-Disposition", "attachment", filename=path.name)
        return answer


def _add_table(web: Any, base: str, current: Callable[[], Live | None]) -> None:
    """The rows of the tab, in Locust's own answer with its statistics."""

    @web.app.after_request
    def add_table(response: Response) -> Response:
        if request.path == f"{base}/stats/requests" and response.is_json:
            live = current()
            rows = [{"key": "replicas", "data": live.table() if live else []}]
            response.set_data(json.dumps((response.json or {}) | {"extended_stats": rows}))
        return response


def for_spreadsheets(path: Path) -> Iterator[str]:
    """The content of a CSV file, piece by piece, with text that a spreadsheet would take for a formula made harmless.

    An apostrophe before such a text makes the spreadsheet show it as text. Numbers stay as they are.
    """
    csv.field_size_limit(LONGEST_CELL)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        while rows := list(itertools.islice(reader, ROWS_AT_ONCE)):
            piece = io.StringIO(newline="")
            csv.writer(piece, lineterminator="\r\n").writerows([_harmless(cell) for cell in row] for row in rows)
            yield piece.getvalue()


def _harmless(cell: str) -> str:
    if not cell.startswith(FORMULA_BEGINS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _sum(sample: Mapping[str, Any], columns: Sequence[str], scale: float) -> float | None:
    """The sum of some columns of a sample, scaled; None if one of them was not measured."""
    values = [sample[column] for column in columns]
    return None if None in values else round(sum(values) * scale, 3)


def _shown(value: float | None, scale: float = 1.0) -> float | str:
    return NOT_MEASURED if value is None else round(value * scale, 1)
