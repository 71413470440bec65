"""docs/performance.md's tables, from what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.needs import write_text

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write_report(record: dict[str, Any], path: Path) -> None:
    """Put the tables between BEGIN and END in ``path``, or at its end where there are no such lines."""
    text = path.read_text(encoding="utf-8") if path.is_file() else f"{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    write_text(path, f"{before}{BEGIN}\n\n{tables(record)}\n{END}{after}")


def tables(record: dict[str, Any]) -> str:
    """The machine, and a table for each part that was measured."""
    machine = record["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores ({', '.join(machine['instructions'])}), "
        f"{machine['system']}, Python {machine['python']}; "
        f"medians of {record['rounds']} rounds of {record['seconds']:g} s.",
        "",
    ]
    if "services" in record:
        lines += _services(record)
    if "overload" in record:
        lines += _overload(record["overload"])
    if "docker" in record:
        lines += _docker(record["docker"])
    return "\n".join(lines)


def _services(record: dict[str, Any]) -> list[str]:
    services = record["services"]
    lines = [
        "| service | connections | requests/s | p50 ms | p95 ms | p99 ms | throughput ratio | p99 ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, service in services.items():
        for number, measured in service["connections"].items():
            ratio = record.get("ratios", {}).get(name, {}).get(number)
            told = f"{ratio['throughput']:.1f} | {1 / ratio['p99']:.1f}" if ratio and ratio["p99"] else "| "
            lines.append(
                f"| {name} | {number} | {measured['throughput']:.0f} | {measured['p50_ms']:.1f} "
                f"| {measured['p95_ms']:.1f} | {measured['p99_ms']:.1f} | {told} |"
            )
    lines += ["", "| service | memory MB | healthy after s |", "|---|---|---|"]
    for name, service in services.items():
        lines.append(f"| {name} | {service['memory_bytes'] / 1e6:.0f} | {service['seconds_to_healthy']:.2f} |")
    alone = record["engine_alone"]["median"]
    lines += ["", f"The inference engine alone, called in a loop on the same texts: {alone:.0f} texts per second.", ""]
    return lines


def _overload(found: dict[str, Any]) -> list[str]:
    many, at_once = found["connections_200"], found["burst"]
    answers = [
        f"  - {answer['count']} got status {status}, half of them within {answer['half_within_ms']:.0f} ms, "
        f"all within {answer['all_within_ms']:.0f} ms."
        for status, answer in at_once.items()
        if isinstance(answer, dict)
    ]
    before, between, after = (f"{held_bytes / 1e6:.0f} MB" for held_bytes in found["memory_bytes"])
    return [
        "Overload:",
        "",
        f"- 200 connections: {many['throughput']:.0f} answers per second, p99 {many['p99_ms']:.0f} ms, "
        f"{many['refused']} requests refused.",
        f"- {at_once['requests']} requests at once:",
        *answers,
        f"- One second after these, a single request took {found['one_second_later_ms']:.0f} ms.",
        f"- Memory before the 200 connections: {before}; after them: {between}; "
        f"after the {at_once['requests']} requests: {after}.",
        "",
    ]


def _docker(found: dict[str, Any]) -> list[str]:
    median = found["median"]
    return [
        f"Containers: one replica with 1.8 CPUs answers {median['one_1.8']:.0f} requests per second.",
        f"Three replicas with 0.6 CPUs each answer {median['three_0.6']:.0f} together, {found['three_over_one']:.2f} "
        "times as many.",
        "",
    ]
