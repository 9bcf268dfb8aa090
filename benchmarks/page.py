"""The tables and the plot of docs/performance.md, made from the figures that ``python -m benchmarks`` wrote down."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import statistics
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, written

Results = dict[str, Any]

CURVES = (
    "generate, cold",
    "generate, nothing changed",
    "update, cold",
    "update, 1,000 changed",
    "update, nothing changed",
)
"""Works whose cost is drawn against the size."""


def machine() -> str:
    """What the figures were taken on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())):
        model = found.group(1)
    return (
        f"{os.cpu_count()} cores of {model}, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def write_page(page: Path, results: Results) -> None:
    """Put the tables between the page's marks, and the plot beside it."""
    figures = {
        part: [Figure(**figure) for figure in found] for part, found in results.items() if isinstance(found, list)
    }
    measured = [figure for part, found in figures.items() if part != "peers" for figure in found]
    text = page.read_text()
    for name, table in {
        "machine": results["machine"] + ".",
        "goals": goals(measured),
        "sizes": sizes(measured),
        "peers": peers(figures.get("peers", []), measured),
    }.items():
        begin, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, rest = rest.partition("\n<!-- end -->")
        text = begin + mark + table + end + rest
    page.write_text(text)
    plot(page.with_suffix(".png"), measured)


def goals(figures: list[Figure]) -> str:
    """A line per goal."""
    lines = ["| work | files | median | bare | min / median / max | goal | | MB |", "|---" * 8 + "|"]
    for figure in figures:
        if figure.goal is not None:
            low, middle, high = (
                written(value) for value in (min(figure.measured), figure.median, max(figure.measured))
            )
            lines.append(
                f"| {figure.work} | {figure.size or '':{',' if figure.size else ''}} | {middle_of(figure.ours)} | "
                f"{middle_of(figure.bare) if figure.bare else ''} | {low} / **{middle}** / {high} | "
                f"{written(figure.goal)} {figure.kind} | {'met' if figure.met else '**not met**'} | "
                f"{f'{figure.memory:,.0f}' if figure.memory else ''} |"
            )
    return "\n".join(lines)


def middle_of(values: list[float]) -> str:
    """The median, written."""
    return written(statistics.median(values))


def sizes(figures: list[Figure]) -> str:
    """Works against sizes, in seconds."""
    columns = sorted({figure.size for figure in figures if figure.work in CURVES})
    lines = ["| seconds | " + " | ".join(f"{size:,}" for size in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for work in CURVES:
        found = {figure.size: middle_of(figure.ours) for figure in figures if figure.work == work}
        lines.append(f"| {work} | " + " | ".join(found.get(size, "") for size in columns) + " |")
    return "\n".join(lines)


def peers(others: list[Figure], figures: list[Figure]) -> str:
    """Other programs' seconds at each size, mmmeta's first."""
    columns = sorted({figure.size for figure in others})
    lines = [
        "| seconds | " + " | ".join(f"{size:,} files" for size in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    named = [(f"**mmmeta: {figure.work}**", figure) for figure in figures if figure.work in CURVES[:4]]
    named += [(figure.work, figure) for figure in others]
    for work in dict.fromkeys(name for name, _ in named):
        found = {figure.size: middle_of(figure.ours).replace("inf", "—") for name, figure in named if name == work}
        if any(size in found for size in columns):
            lines.append(f"| {work} | " + " | ".join(found.get(size, "") for size in columns) + " |")
    return "\n".join(lines)


def plot(path: Path, figures: list[Figure]) -> None:
    """Cost against size, both axes logarithmic; the bare work is dotted."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    _, axes = pyplot.subplots(figsize=(8, 5))
    for work in CURVES:
        found = sorted((figure for figure in figures if figure.work == work), key=lambda figure: figure.size)
        places = [figure.size for figure in found]
        (line,) = axes.plot(places, [statistics.median(figure.ours) for figure in found], marker="o", label=work)
        if any(figure.bare for figure in found):
            axes.plot(places, [statistics.median(figure.bare) for figure in found], ":", color=line.get_color())
    axes.set(xscale="log", yscale="log", xlabel="files", ylabel="seconds (dotted: the bare work)")
    axes.grid(alpha=0.3)
    axes.legend()
    pyplot.savefig(path, dpi=110, bbox_inches="tight")
