"""The report of an evaluation of label maps alone: means, intervals, and every case, the worst first; no pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.files import write_aside
from scripts.report_html import page, paragraph, section
from scripts.report_tables import case_table, measure_table, test_table
from scripts.score_tables import Row, mean_dice

REPORT_FILE = "report.html"


def write_score_report(folder: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> Path:
    """Write ``report.html`` beside the tables of an evaluation.

    Args:
        folder: of the tables.
        rows: of cases.json.
        about: ``label_scheme``, ``reference_scheme`` and ``cases_left_out``, as summary.json has them.

    Raises:
        InputError: the folder cannot be written to.
    """
    rows = sorted(rows, key=mean_dice)
    left_out = about["cases_left_out"]
    html = page(
        title="Evaluation of label maps",
        state=f"{len(rows)} case{'s' * (len(rows) != 1)}, label scheme {about['label_scheme']}, reference in "
        f"{about['reference_scheme']}.",
        notices=[f"{len(left_out)} of the reference's cases not predicted and left out."] if left_out else [],
        sections=[
            section("Results", test_table(rows), measure_table(rows)),
            section("Every case, the worst first", case_table(rows)),
            section("Cases left out", paragraph(", ".join(left_out))) if left_out else "",
        ],
    )
    target = folder / REPORT_FILE
    with write_aside(target) as aside:
        aside.write_text(html, encoding="utf-8")
    return target
