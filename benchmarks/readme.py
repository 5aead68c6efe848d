"""Renders the table of benchmarks/README.md from the kept results: ``python benchmarks/readme.py [--check]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
README = FOLDER / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def figures(ratio: Mapping[str, Any]) -> str:
    """A ratio as median, with the range of its rounds where there are any."""
    median = f"**{number(ratio['median'])}**"
    return median if ratio["min"] is None else f"{median} ({number(ratio['min'])} to {number(ratio['max'])})"


def section(name: str, result: Mapping[str, Any]) -> str:
    """One benchmark: claim, command, ratios with their range, both sides, checks, machine and date."""
    lines = [
        f"### {name}",
        "",
        f"{result['claim']}",
        "",
        f"`{result['command']}`, {result['date']}, {result['machine']}",
        "",
    ]
    lines += ["| ratio | of medians (of single rounds) |", "|---|---|"]
    lines += [f"| {title} | {figures(ratio)} |" for title, ratio in result["ratios"].items()]
    if result["cpu_s"]:
        lines += ["", "| side | CPU ms: min, median, max |", "|---|---|"]
        for side, seconds in result["cpu_s"].items():
            ordered = sorted(1000 * value for value in seconds)
            middle = ordered[len(ordered) // 2]
            lines.append(f"| {side} | {number(ordered[0])}, {number(middle)}, {number(ordered[-1])} |")
    if "rows" in result:
        columns = list(next(iter(result["rows"].values())))
        lines += ["", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        for row, values in result["rows"].items():
            lines.append(f"| {row} | " + " | ".join(f"{values[column]:.4g}" for column in columns) + " |")
    if result["checks"]:
        lines += ["", "Checked: " + "; ".join(f"{what} {value}" for what, value in result["checks"].items()) + "."]
    return "\n".join(lines)


def rendered(text: str) -> str:
    """``text``, the README, with its table made anew."""
    results = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))}
    body = "\n\n".join(section(name, result) for name, result in results.items())
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    """Rewrite the README, or tell whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the README is out of date")
    options = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    new = rendered(text)
    if options.check:
        return int(new != text)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
