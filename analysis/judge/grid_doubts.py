"""What speaks against a grid: the doubts of its cells, each once with the cells that it concerns, and its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.judge.comparability import usable_cpus
from analysis.judge.doubts import Doubt, Validity
from analysis.judge.grid_words import Namer
from analysis.judge.grids import CellOfFamily, images_of
from analysis.judge.words import listed
from analysis.read.grid import CellResults, Grid, contradictions, family_in
from analysis.read.results import Deployment, Results
from runfiles.deployments import HOST, family_title, title_of
from runfiles.events import FAILED, STATUS_MEASURED
from runfiles.grid import GridCell

NUMBER = re.compile(r"\d[\d.,]*")


@dataclass(frozen=True)
class GridDoubt:
    """A doubt, and the cells that it concerns (none: the grid as a whole). ``is_alike``: in the others it has other
    numbers, or is of another deployment. ``families``: the titles of those whose deployments it names."""

    doubt: Doubt
    cells: tuple[GridCell, ...] = ()
    is_alike: bool = False
    families: tuple[str, ...] = ()

    def text(self, namer: Namer, count: int) -> str:
        """The doubt with the names of its cells. ``count``: how many cells were measured."""
        if not self.cells:
            return self.doubt.text
        if len(self.cells) == 1 and not self.is_alike:
            return f"{namer.name(self.cells[0])}: {self.doubt.text}"
        how = "Alike in" if self.is_alike else "In"
        whose = f", with {listed(self.families)}" if len(self.families) > 1 else ""
        if len(self.cells) == count:
            every = "both" if count == 2 else f"all {count}"
            return f"{self.doubt.text} ({how} {every} measured cells{whose}.)"
        which = namer.listed(self.cells)
        return f"{self.doubt.text} ({how} {len(self.cells)} of {count} measured cells{whose}: {which}.)"


def cell_validity(cell: CellResults, found: Validity) -> Validity:
    """What speaks against the experiment of a cell, and that it is not the one that ``grid.json`` names."""
    own = [Doubt(text, "contradiction", cell.told.deployments) for text in contradictions(cell)]
    kept = found.doubts
    if cell.results is not None and _have_containers_one_limit(cell.results):
        kept = tuple(doubt for doubt in kept if not (doubt.kind == "cpu limit" and HOST in doubt.deployments))
    return Validity((*own, *kept, *_of_what_did_not_run(cell)))


def _of_what_did_not_run(cell: CellResults) -> Iterator[Doubt]:
    """Why deployments were not begun. Why rounds failed, the doubts of the experiment tell."""
    for each in cell.deployments:
        if each.status != STATUS_MEASURED and not any(round_.status == FAILED for round_ in each.rounds):
            yield Doubt(f"{each.title}: {why_none(each)}", deployments=(each.name,), is_of_a_lack=True)


def why_none(deployment: Deployment) -> str:
    """Why there is no load of a deployment: ``not run: the reason``."""
    state = deployment.status if deployment.status != STATUS_MEASURED else "no load can be read"
    return f"{state}: {deployment.reason}" if deployment.reason else state


def _have_containers_one_limit(results: Results) -> bool:
    """Whether only the host process may use more cores: it has no limits, and is not compared with the others here."""
    containers = (each for each in results.deployments if each.loads and not each.is_host)
    return len(set().union(*(usable_cpus(results, each) for each in containers))) <= 1


def why_not_measured(cell: CellResults) -> Doubt:
    """Of a cell of which no experiment can be read."""
    kind = "" if cell.is_missing else "unreadable"
    return Doubt(f"not measured: {cell.why_not}", kind, cell.told.deployments, is_of_a_lack=cell.is_missing)


def grid_doubts(grid: Grid, validities: Mapping[str, Validity], cells: Sequence[CellOfFamily]) -> tuple[GridDoubt, ...]:
    """All doubts, what makes cells invalid first. ``validities``: of each cell, by its folder."""
    found = _of_the_grid(grid, cells) + _merged(grid, validities)
    return tuple(sorted(found, key=lambda each: not each.doubt.is_invalid))


def _merged(grid: Grid, validities: Mapping[str, Validity]) -> list[GridDoubt]:
    """Each doubt once; those that differ only in numbers, or in the deployment that they name, are one."""
    groups: dict[tuple[str, str], list[tuple[GridCell, Doubt, list[str]]]] = {}
    for cell in grid.record.cells:
        titles = {title_of(name): family_title(family_in(name)) for name in cell.deployments}
        for doubt in validities[cell.folder].doubts:
            text, named = doubt.text, []
            for title in sorted(titles, key=len, reverse=True):
                if title in text:
                    text = text.replace(title, "@")
                    named.append(titles[title])
            groups.setdefault((doubt.kind, NUMBER.sub("#", text)), []).append((cell, doubt, named))
    return [_group(found) for found in groups.values()]


def _group(found: Sequence[tuple[GridCell, Doubt, list[str]]]) -> GridDoubt:
    doubt = found[0][1]
    cells = {cell.folder: cell for cell, _, _ in found}
    families = dict.fromkeys(family for *_, named in found for family in named)
    is_alike = len({other.text for _, other, _ in found}) > 1
    return GridDoubt(doubt, tuple(cells.values()), is_alike, tuple(families))


def _of_the_grid(grid: Grid, cells: Sequence[CellOfFamily]) -> list[GridDoubt]:
    record = grid.record
    texts = [] if record.ended_at else ["The grid was cut off, or still runs: its record has no end."]
    texts += [f"Left out: {text}" for text in record.left_out]
    found = [Doubt(text, is_of_a_lack=True) for text in texts]
    if len(images_of(cells)) > 1:
        found.append(Doubt("Not all cells ran the same image. Those with different images are not compared."))
    if len({each.results.experiment.machine for each in cells}) > 1:
        found.append(Doubt("Not all cells ran on the same machine. Those of different machines are not compared."))
    return [*map(GridDoubt, found)]
