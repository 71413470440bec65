"""The table of the columns: what a row of it says does not contradict its name, nor the counters."""

from __future__ import annotations

import pytest

from runfiles.columns import (
    BLOCK_COLUMNS,
    BYTES,
    BYTES_PER_S,
    CHANGES_COLUMNS,
    COUNTER,
    GAUGE,
    LABEL,
    MACHINE_STATS_COLUMNS,
    MS,
    MS_ABOVE_0,
    PER_S,
    PERCENT,
    RATE,
    REPLICA_EVENTS_COLUMNS,
    REPLICA_STATS_COLUMNS,
    REQUEST_COLUMNS,
    SECONDS,
    UNIX_S,
    UNIX_S_ELSEWHERE,
    Column,
    column_names,
)

from _counters import Counters

TABLES = (
    REQUEST_COLUMNS,
    REPLICA_STATS_COLUMNS,
    REPLICA_EVENTS_COLUMNS,
    CHANGES_COLUMNS,
    MACHINE_STATS_COLUMNS,
    BLOCK_COLUMNS,
)
UNITS = {
    "_unix_s": (UNIX_S, UNIX_S_ELSEWHERE),
    "_bytes_per_s": (BYTES_PER_S,),
    "rate_per_s": (PER_S,),
    "_bytes": (BYTES,),
    "_ms": (MS, MS_ABOVE_0),
    "_percent": (PERCENT,),
    "_seconds": (SECONDS,),
}


@pytest.mark.parametrize("column", [column for table in TABLES for column in table], ids=lambda column: column.name)
def test_a_name_carries_the_unit(column: Column) -> None:
    expected = next((units for end, units in UNITS.items() if column.name.endswith(end)), ())
    if expected:
        assert column.unit in expected
    else:
        assert column.unit.name in ("text", "JSON", "number", "1 or 0")


@pytest.mark.parametrize(
    "table", TABLES, ids=["requests", "replica_stats", "replica_events", "changes", "machine_stats", "blocks"]
)
def test_a_file_begins_with_the_time_of_a_row(table: tuple[Column, ...]) -> None:
    assert table[0].unit is UNIX_S
    assert table[0].is_needed
    assert len(set(column_names(table))) == len(table)


def test_a_rate_is_that_of_a_counter_of_its_group() -> None:
    counters = {column.name: column.group for column in REPLICA_STATS_COLUMNS if column.kind is COUNTER}
    rates = {column.rate_of: column.group for column in REPLICA_STATS_COLUMNS if column.kind is RATE}
    assert rates.items() <= counters.items()
    assert all((column.kind is RATE) == bool(column.rate_of) for table in TABLES for column in table)


def test_a_reading_fills_each_column_of_a_group() -> None:
    counters = Counters(1.0, 2.0, 3)
    filled = {column.name for column in REPLICA_STATS_COLUMNS if column.group and column.kind is not RATE}
    assert set(counters.by_column) == filled
    assert {name for name, value in counters.by_column.items() if value is not None} == {"cpu_seconds", "memory_bytes"}
    others = {column.name for column in REPLICA_STATS_COLUMNS if not column.group and column.kind in (COUNTER, GAUGE)}
    assert others == {"users"}
    assert {column.name for column in REPLICA_STATS_COLUMNS if column.group and column.kind is LABEL} == {"interfaces"}
