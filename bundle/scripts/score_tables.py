"""The tables of an evaluation: cases.csv, cases.json and summary.json, and the summary as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.bootstrap import LEVEL, MEAN, RESAMPLES, SEED, interval
from scripts.files import json_text, write_texts
from scripts.scores import COUNTS, SCORES

Row = Mapping[str, Any]

TABLE_FILES = ("cases.json", "summary.json", "cases.csv")

# Those that add up over cases; volumes are told by their error.
TOTALS = ("lesions", "lesions_missed", "lesions_false")
# Heading and digits of a measure, in text and in the report.
HEADINGS = {
    "dice": ("Dice", 4),
    "hd95_mm": ("HD95 (mm)", 2),
    "surface_dice": ("surface Dice at 1 mm", 4),
    "sensitivity": ("sensitivity", 4),
    "precision": ("precision", 4),
    "volume_error_ml": ("volume error (ml)", 2),
    "volume_error_relative": ("relative volume error", 3),
    "lesion_dice": ("lesion-wise Dice", 4),
    "lesion_hd95_mm": ("lesion-wise HD95 (mm)", 2),
}


def write_tables(folder: Path, rows: Sequence[Row], regions: Sequence[str], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write the three files of an evaluation, together.

    Args:
        folder: made where it is not there.
        rows: see :func:`table_texts`.
        regions: see :func:`table_texts`.
        about: see :func:`table_texts`.

    Returns:
        The summary.

    Raises:
        InputError: the folder cannot be written to.
    """
    summary, texts = table_texts(rows, regions, about)
    write_texts(folder, texts)
    return summary


def table_texts(
    rows: Sequence[Row], regions: Sequence[str], about: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The summary of an evaluation, and its files: name to content.

    Args:
        rows: a case each, in any order: ``case``, its files, and what :func:`scripts.scores.score_case` gives.
        regions: in the order of columns.
        about: what was scored, ``label_scheme`` at least; a part of the summary.
    """
    rows = sorted(rows, key=lambda row: row["case"])
    summary = summarise(rows, regions) | dict(about)
    flat = [flatten(row) for row in rows]
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, fieldnames=list(flat[0]))
    writer.writeheader()
    writer.writerows(flat)
    contents = (json_text(rows), json_text(summary), lines.getvalue())
    return summary, dict(zip(TABLE_FILES, contents, strict=True))


def flatten(row: Row) -> dict[str, Any]:
    """One case as a flat row: ``case``, then ``dice_TC`` ... in the order of the measures and regions."""
    measures = (*SCORES, *COUNTS)
    return {"case": row["case"]} | {f"{m}_{region}": value for m in measures for region, value in row[m].items()}


def columns(rows: Sequence[Row], measure: str, regions: Sequence[str]) -> NDArray[np.float64]:
    """A measure of every case: a column a region, then the case's mean over regions; (N, R + 1)."""
    values = np.array([[row[measure][region] for region in regions] for row in rows], dtype=np.float64)
    return np.column_stack([values, values.mean(axis=1)])


def mean_dice(row: Row) -> float:
    """Mean over the regions of a case's Dice, by which cases are ordered."""
    return float(np.mean(list(row["dice"].values())))


def summarise(rows: Sequence[Row], regions: Sequence[str]) -> dict[str, Any]:
    """Means, medians and bootstrap intervals over cases, for each region and for each case's mean over regions.

    Returns:
        ``n_cases``; each measure to region to mean over cases; ``median`` and ``interval`` to the same, with two bounds
        a region; ``totals`` of the lesions; and ``bootstrap`` with what the intervals were made with. A single case has
        no interval.
    """
    names = (*regions, MEAN)
    tables = {measure: columns(rows, measure, regions) for measure in SCORES}
    summary: dict[str, Any] = {"n_cases": len(rows)}
    summary |= {m: dict(zip(names, table.mean(axis=0).tolist(), strict=True)) for m, table in tables.items()}
    summary["median"] = {
        m: dict(zip(names, np.median(table, axis=0).tolist(), strict=True)) for m, table in tables.items()
    }
    if len(rows) > 1:
        summary["interval"] = {
            m: dict(zip(names, interval(table).T.tolist(), strict=True)) for m, table in tables.items()
        }
        summary["bootstrap"] = {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED}
    summary["totals"] = {
        count: {region: int(sum(row[count][region] for row in rows)) for region in regions} for count in TOTALS
    }
    return summary


def table(summary: Mapping[str, Any]) -> str:
    """The summary as text: for each measure a line of means, a column a region, and a line of their intervals."""
    names = list(summary["dice"])
    n_cases = summary["n_cases"]
    width = max(len(heading) for heading, _ in HEADINGS.values()) + 2
    lines = [f"{n_cases} case{'s' * (n_cases != 1)}, means and 95 % intervals", " " * width + _cells(names)]
    for measure, (heading, digits) in HEADINGS.items():
        lines.append(f"{heading:<{width}}" + _cells([f"{summary[measure][name]:.{digits}f}" for name in names]))
        if "interval" in summary:
            bounds = [" to ".join(f"{b:.{digits}f}" for b in summary["interval"][measure][name]) for name in names]
            lines.append(" " * width + _cells(bounds))
    return "\n".join(lines)


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"{text:>18}" for text in texts)
