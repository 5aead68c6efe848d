"""The report of an evaluation of label maps alone: means, intervals, and every case, the worst first; no pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.report_html import page, paragraph, section
from scripts.report_tables import case_table, measure_table, test_table
from scripts.score_tables import Row, mean_dice

REPORT_FILE = "report.html"


def score_report(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """``report.html``, which lies beside the tables of an evaluation.

    Args:
        rows: of cases.json.
        about: ``label_scheme``, ``reference_scheme`` and ``cases_left_out``, as summary.json has them.
    """
    rows = sorted(rows, key=mean_dice)
    left_out = about["cases_left_out"]
    return page(
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
