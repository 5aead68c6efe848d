"""Renders the tables of benchmarks/README.md from the kept results: ``python benchmarks/readme.py [--check]``."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ensemble
import inference_choices
import robustness
import tuned_rules
import uncertainty
from accuracy import tables
from accuracy_device import CPU
from accuracy_run import ABLATION, ACCURACY
from accuracy_statistics import NOTES
from ensemble import ENSEMBLE
from inference_choices import CHOICES
from robustness import ROBUSTNESS
from scripts.errors import one_sentence
from tuned_rules import RULES
from uncertainty import UNCERTAINTY

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
README = FOLDER / "README.md"
# Folder of the results on the hard phantom.
PHANTOM = "hard_phantom"
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"


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
            shown = (ordered[0], statistics.median(ordered), ordered[-1])
            lines.append(f"| {side} | {', '.join(map(number, shown))} |")
    if "rows" in result:
        columns = list(next(iter(result["rows"].values())))
        lines += ["", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        for row, values in result["rows"].items():
            lines.append(f"| {row} | " + " | ".join(f"{values[column]:.4g}" for column in columns) + " |")
    if result["checks"]:
        lines += ["", "Checked: " + "; ".join(f"{what} {value}" for what, value in result["checks"].items()) + "."]
    return "\n".join(lines)


def speed() -> str:
    """All benchmarks of one file each."""
    results = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))}
    return "\n\n".join(section(name, result) for name, result in results.items())


def judged(text: Callable[[Path, float, int], str], name: str) -> str:
    """Tables of a judge of kept weights, one a budget and number of folds."""
    results = [json.loads(file.read_text(encoding="utf-8")) for file in (RESULTS / name).glob("*.json")]
    budgets = {(result["minutes"], result["folds"]) for result in results}
    return "\n\n".join(text(RESULTS / name, *budget) for budget in sorted(budgets))


# What stands between the marks of each name.
BLOCKS: dict[str, Callable[[], str]] = {
    "notes": lambda: NOTES,
    ACCURACY: lambda: tables(ACCURACY, RESULTS, CPU)[1],
    ROBUSTNESS: lambda: judged(robustness.text, ROBUSTNESS),
    UNCERTAINTY: lambda: f"{judged(uncertainty.text, UNCERTAINTY)}\n\n{uncertainty.P_VALUE}",
    CHOICES: lambda: judged(inference_choices.text, CHOICES),
    RULES: lambda: judged(tuned_rules.text, RULES),
    ENSEMBLE: lambda: judged(ensemble.text, ENSEMBLE),
    ABLATION: lambda: tables(ABLATION, RESULTS, CPU)[1],
    f"{ABLATION}_{PHANTOM}": lambda: tables(ABLATION, RESULTS / PHANTOM, CPU)[1],
    "results": speed,
}


def rendered(text: str) -> str:
    """``text``, the README, with what stands between its marks made anew."""
    for name, make in BLOCKS.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{make()}\n\n{end}{rest.partition(end)[2]}"
    return text


def main() -> int:
    """Rewrite the README, or tell whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the README is out of date")
    options = parser.parse_args()
    return one_sentence(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    text = README.read_text(encoding="utf-8")
    new = rendered(text)
    if options.check:
        return int(new != text)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
