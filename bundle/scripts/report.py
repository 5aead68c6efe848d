"""The report of a run: curves.png, pictures of the best and the worst test case, and report.html that tells it all.

    python -m scripts.report --run_dir runs/my_run

It is written at the end of a training and again after its evaluation, and can be made anew at any time.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.errors import InputError, one_sentence
from scripts.figures import plot_case, plot_curves
from scripts.files import read_json, write_aside
from scripts.layouts import MODALITIES
from scripts.report_html import number, page, paragraph, picture, preformatted, section
from scripts.report_tables import case_table, knob_table, mean_dice, test_table, validation_table, version_table

logger = logging.getLogger(__name__)

CLINICAL = "Not for clinical use."
PARTS = ("training", "validation", "test")
HOW_TO_READ = (
    "Lines are the truth, tints the prediction; each plane is cut where the true tumour is largest. "
    "Letters are the patient's right, left, front (A), back (P), head (S) and feet (I)."
)
PHANTOM = "Synthetic phantom data: the figures mean nothing clinically."


@dataclass(frozen=True)
class Stage:
    """What a training or an evaluation noted about itself; empty where it did not run.

    Attributes:
        folder: the run's folder, or ``test`` in it.
        config: the merged config.
        datalist: the data it used.
        versions: package to version.
        command: as it was typed.
        started: date and time, to the minute.
    """

    folder: Path
    config: dict[str, Any]
    datalist: dict[str, Any]
    versions: dict[str, str]
    command: str
    started: str

    @classmethod
    def read(cls, folder: Path) -> Stage:
        """Read the notes that are there."""
        log = _text(folder / "log.txt")
        first = re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d", log)
        return cls(
            folder=folder,
            config=_optional_json(folder / "config.json", "config"),
            datalist=_optional_json(folder / "datalist.json", "datalist"),
            versions=_optional_json(folder / "versions.json", "versions"),
            command=_text(folder / "command.txt").strip(),
            started=first.group() if first else "",
        )

    @property
    def dataset_dir(self) -> str:
        """The folder that was used, or what the knob said where no datalist tells."""
        return str(self.datalist.get("dataset_dir") or self.config.get("dataset_dir") or "")

    @property
    def is_phantom(self) -> bool:
        """Whether the data are synthetic."""
        return Path(self.dataset_dir).name.startswith("phantom")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl, one record an epoch.

    A line that a killed run left half-written is passed over. Where a resumed run did epochs again, the later records
    replace the earlier ones.

    Args:
        path: the file.

    Returns:
        The records in order of their epochs.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot read the metrics ({error.strerror}); check the path.") from error
    records: list[dict[str, Any]] = []
    for position, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            epoch = int(record["epoch"])
        except (ValueError, TypeError, KeyError):
            logger.warning("%s: line %d is not a whole record and is passed over", path, position)
            continue
        while records and records[-1]["epoch"] >= epoch:
            records.pop()
        records.append(record)
    return records


def write_report(run_dir: str | Path) -> Path:
    """Draw the curves and the test cases of a run and write its ``report.html``; what a run lacks is left out.

    Args:
        run_dir: the run's folder, with metrics.jsonl, test/cases.json or both.

    Returns:
        The report.

    Raises:
        InputError: the folder has neither, a file in it is not what it should be, or it cannot be written to.
    """
    folder = Path(run_dir).resolve()
    metrics = read_metrics(folder / "metrics.jsonl") if (folder / "metrics.jsonl").is_file() else []
    cases = folder / "test" / "cases.json"
    rows = sorted(read_json(cases, "test results"), key=mean_dice) if cases.is_file() else []
    if not metrics and not rows:
        raise InputError(
            f"{folder}: holds neither metrics.jsonl of a training nor test/cases.json of an evaluation; give the folder "
            "of a run."
        )
    training, evaluation = Stage.read(folder), Stage.read(folder / "test")
    phantom = training.is_phantom or evaluation.is_phantom
    html = page(
        title=f"Run {folder.name}",
        state=describe_state(training, evaluation, metrics, rows),
        notices=[PHANTOM, CLINICAL] if phantom else [CLINICAL],
        sections=[
            section("Test results", test_table(rows)) if rows else "",
            section("Best and worst test case", *case_parts(training, evaluation, rows)) if rows else "",
            section("Training", *training_parts(folder, metrics)) if metrics else "",
            section("Every test case", case_table(rows)) if rows else "",
            section("Data", *data_parts(training, evaluation)),
            section("Commands", *command_parts(training, evaluation)),
            section("Knobs", knob_table(training.config or evaluation.config)),
            section("Versions", version_table({"training": training.versions, "evaluation": evaluation.versions})),
        ],
    )
    target = folder / "report.html"
    with write_aside(target) as aside:
        aside.write_text(html, encoding="utf-8")
    logger.info("report: %s", target)
    return target


def describe_state(
    training: Stage, evaluation: Stage, metrics: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> str:
    """When the run began and how far it came, for example ``Started ...; trained 40 of 40 epochs in 7 min; ...``."""
    parts = []
    if started := training.started or evaluation.started:
        parts.append(f"started {started}")
    if metrics:
        done, wanted = metrics[-1]["epoch"], training.config.get("epochs")
        minutes, seconds = divmod(round(sum(record.get("seconds", 0) for record in metrics)), 60)
        unfinished = isinstance(wanted, int) and done < wanted
        total = f" of {wanted}" if isinstance(wanted, int) else ""
        parts.append(f"trained {done}{total} epochs in {minutes} min {seconds:02d} s" + ", not finished" * unfinished)
    if rows:
        parts.append(f"tested on {len(rows)} case{'s' * (len(rows) != 1)}")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def training_parts(folder: Path, metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """The curves and the table of the best and the last validation; writes ``curves.png``."""
    plot_curves(metrics, folder / "curves.png")
    alternative = "Training loss, validation Dice of each region and learning rate over the epochs"
    return [validation_table(metrics), picture(folder / "curves.png", alternative, "Curves over the epochs.")]


def case_parts(training: Stage, evaluation: Stage, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The best and the worst test case as slices; writes ``best_case.png`` and ``worst_case.png``.

    Args:
        training: its datalist names channels and scheme where the evaluation's does not.
        evaluation: whose folder gets the pictures.
        rows: test/cases.json, lowest mean Dice first.

    Returns:
        A picture each, or a sentence that tells why there is none.
    """
    datalist = training.datalist | evaluation.datalist
    summary = _optional_json(evaluation.folder / "summary.json", "summary of the test")
    scheme = str(summary.get("label_scheme") or datalist.get("label_scheme"))
    modalities = datalist.get("modalities") or MODALITIES
    chosen = {"best": rows[-1], "worst": rows[0]} if len(rows) > 1 else {"best": rows[0]}
    parts = []
    for which, row in chosen.items():
        regions = ", ".join(f"{region} {number(value, 3)}" for region, value in row["dice"].items())
        caption = f"{which.capitalize()} case: {row['case']}, mean Dice {number(mean_dice(row), 3)} ({regions})."
        target = evaluation.folder / f"{which}_case.png"
        truth = Path(row["truth"]) if row.get("truth") else None
        try:
            plot_case(
                [Path(file) for file in row["image"]],
                truth,
                Path(row["prediction"]),
                scheme,
                caption.removesuffix("."),
                target,
                modalities,
            )
        except InputError as error:
            parts.append(paragraph(f"{caption} It cannot be shown: {error}"))
            continue
        alternative = f"Axial, coronal and sagittal slices of case {row['case']} with truth and prediction"
        parts.append(picture(target, alternative, f"{caption} {HOW_TO_READ}{_only_whole_tumour(row)}"))
    return parts


def _only_whole_tumour(row: Mapping[str, Any]) -> str:
    """A remark for networks that do not tell the tissues apart, whose one colour would mislead."""
    return " The network predicts the whole tumour only, drawn in one colour." if list(row["dice"]) == ["WT"] else ""


def data_parts(training: Stage, evaluation: Stage) -> list[str]:
    """Where the data came from and how many cases each part had."""
    parts = []
    for name, stage in (("Training", training), ("Evaluation", evaluation)):
        if stage.dataset_dir and (stage is training or stage.dataset_dir != training.dataset_dir):
            counts = [f"{len(stage.datalist[part])} {part}" for part in PARTS if part in stage.datalist]
            cases = f": {', '.join(counts)} cases, label scheme {stage.datalist.get('label_scheme')}" if counts else ""
            parts.append(paragraph(f"{name} on {stage.dataset_dir}{cases}."))
    return parts


def command_parts(training: Stage, evaluation: Stage) -> list[str]:
    """The exact commands."""
    return [preformatted(stage.command) for stage in (training, evaluation) if stage.command]


def _optional_json(file: Path, what: str) -> dict[str, Any]:
    """Content of a JSON file, empty where there is none."""
    return read_json(file, what) if file.is_file() else {}


def _text(file: Path) -> str:
    """Content of a text file, empty where there is none."""
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the report of one run anew."""
    parser = argparse.ArgumentParser(prog="python -m scripts.report", description="Write the report of a run anew.")
    parser.add_argument("--run_dir", type=Path, required=True, help="folder of the run, for example runs/my_run")
    run_dir = parser.parse_args(argv).run_dir
    return one_sentence(lambda: _report(run_dir))


def _report(run_dir: Path) -> int:
    """Write the report and tell where it is."""
    print(write_report(run_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main())
