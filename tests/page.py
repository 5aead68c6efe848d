"""An HTML page as a browser would see it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """Tags, addresses, pictures, texts and the cells of table rows.

    Attributes:
        addresses: all that could be fetched.
        images: their attributes.
        all_rows: cells of each row, the heading first.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.all_rows: list[list[str]] = []
        self.text = ""
        self._cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag == "tr":
            self.all_rows.append([])
        if tag in ("td", "th"):
            self.all_rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.all_rows[-1][-1] += data

    @property
    def rows(self) -> dict[str, list[str]]:
        """Heading to the other cells; of rows with one heading, those of the last, in the place of the first."""
        return {row[0]: row[1:] for row in self.all_rows if row}

    def row(self, heading: str) -> list[str]:
        """The other cells of the only row with that heading."""
        (cells,) = [row[1:] for row in self.all_rows if row[0] == heading]
        return cells


def page_of(file: Path) -> Page:
    """That of a file."""
    return Page(file.read_text(encoding="utf-8"))
