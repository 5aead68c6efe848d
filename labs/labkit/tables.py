"""Small tables that show as HTML in a notebook and as aligned text where HTML does not show."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any


class Table:
    """Rows of values under a heading a column.

    Args:
        columns: the headings.
        rows: as many values each; floats are shown with three significant digits.
        caption: a line above.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        self.columns = [str(column) for column in columns]
        self.rows = [[_written(value) for value in row] for row in rows]
        self.caption = caption
        uneven = [row for row in self.rows if len(row) != len(self.columns)]
        if uneven:
            raise ValueError(f"a row has {len(uneven[0])} values under {len(self.columns)} headings: {uneven[0]}")

    def _repr_html_(self) -> str:
        # Inline styles: an exported page has no style sheet of ours, and JupyterLab strips style elements.
        cell = "padding:.2em .8em;text-align:left;vertical-align:top"
        head = "".join(f'<th scope="col" style="{cell};font-weight:600">{escape(text)}</th>' for text in self.columns)
        body = "".join(
            "<tr>" + "".join(f'<td style="{cell}">{escape(text)}</td>' for text in row) + "</tr>" for row in self.rows
        )
        caption = (
            f'<caption style="text-align:left;font-weight:600;white-space:nowrap">{escape(self.caption)}</caption>'
        )
        return f"<table>{caption if self.caption else ''}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.columns))]
        text = ["  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([*([self.caption] if self.caption else []), *(line.rstrip() for line in text)])


def table(rows: Sequence[Sequence[Any]], columns: Sequence[str], caption: str = "") -> Table:
    """A table for the last line of a cell.

    Args:
        rows: values, row by row.
        columns: the headings.
        caption: a line above.

    Raises:
        ValueError: a row is longer or shorter than the headings.
    """
    return Table(columns, rows, caption)


def _written(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
