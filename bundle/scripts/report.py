"""The report of a run: curves.png, pictures of the worst, median and best test case, and report.html that tells it all.

    python -m scripts.report --run_dir runs/my_run

It is written at the end of a training and again after its evaluation, and can be made anew at any time.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import InputError, one_sentence
from scripts.figures import plot_case, plot_curves
from scripts.files import write_aside
from scripts.layouts import MODALITIES
from scripts.records import Stage, optional_json, read_metrics
from scripts.report_html import folded, number, page, paragraph, picture, preformatted, section
from scripts.report_tables import (
    case_table,
    knob_table,
    measure_table,
    test_table,
    validation_table,
    version_table,
)
from scripts.score_rows import read_rows
from scripts.score_tables import mean_dice
from scripts.viewer import CaseView
from scripts.viewer.case import load_viewed_case
from scripts.viewer.page import frame, script, source_hash
from scripts.viewer.source import Source

logger = logging.getLogger(__name__)

CLINICAL = "Not for clinical use."
STALE = "The test results are older than the last training in this folder: evaluate again if the model has changed."
# What the table of cases shows of each.
TABLED = ("dice", "hd95_mm", "truth_ml", "prediction_ml")
PARTS = ("training", "validation", "test")
HOW_TO_READ = (
    "Lines are the truth, tints the prediction; each plane is cut where the true tumour is largest. "
    "Letters are the patient's right, left, front (A), back (P), head (S) and feet (I)."
)
# Three viewers and three pictures stay below 5 MB; a case of BraTS's size is shown at every second voxel.
VIEWER_BYTES = 800_000
STEPS = (1, 2, 3, 4)
VIEWER_HEIGHT = 680
PHANTOM = "Synthetic phantom data: the figures mean nothing clinically."


def write_report(run_dir: str | Path, scores_dir: str | Path | None = None) -> Path:
    """Draw the curves and the test cases of a run and write its ``report.html``; what a run lacks is left out.

    Args:
        run_dir: the run's folder, with metrics.jsonl, test/cases.json or both.
        scores_dir: folder of cases.json, where it is not ``test`` of the run: the report is then written there, as the
            scores of other data are not those of the run's held-out cases.

    Returns:
        The report.

    Raises:
        InputError: the folder has neither, a file in it is not what it should be, or it cannot be written to.
    """
    folder = Path(run_dir).resolve()
    scores = Path(scores_dir or folder / "test").resolve()
    held_out = scores == folder / "test"
    metrics = read_metrics(folder / "metrics.jsonl") if (folder / "metrics.jsonl").is_file() else []
    cases = scores / "cases.json"
    rows = sorted(read_rows(cases, TABLED, required=TABLED), key=mean_dice) if cases.is_file() else []
    if not metrics and not rows:
        raise InputError(
            f"{folder}: holds neither metrics.jsonl of a training nor {scores.name}/cases.json of an evaluation; give "
            "the folder of a run."
        )
    training, evaluation = Stage.read(folder), Stage.read(scores)
    html = page(
        title=f"Run {folder.name}" if held_out else f"Run {folder.name}, {scores.name}",
        state=describe_state(training, evaluation, metrics, rows),
        notices=notices(training, evaluation),
        sections=[
            section("Test results", test_table(rows), measure_table(rows)) if rows else "",
            section("Worst, median and best test case", *case_parts(training, evaluation, rows)) if rows else "",
            section("Training", *training_parts(folder, metrics)) if metrics else "",
            section("Every test case", case_table(rows)) if rows else "",
            section("Data", *data_parts(training, evaluation)),
            section("Commands", *command_parts(training, evaluation)),
            section("Knobs", knob_table(training.config or evaluation.config)),
            section("Versions", version_table({"training": training.versions, "evaluation": evaluation.versions})),
        ],
        script_hashes=[source_hash(script())] if rows else [],
    )
    target = (folder if held_out else scores) / "report.html"
    with write_aside(target) as aside:
        aside.write_text(html, encoding="utf-8")
    logger.info("report: %s", target)
    return target


def notices(training: Stage, evaluation: Stage) -> list[str]:
    """Warnings that stand first."""
    found = [PHANTOM] if training.is_phantom or evaluation.is_phantom else []
    if "" < evaluation.ended < training.ended:
        found.append(STALE)
    return [*found, CLINICAL]


def describe_state(
    training: Stage, evaluation: Stage, metrics: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> str:
    """When the run began and how far it came, for example ``Started ...; trained 40 of 40 epochs in 7 min; ...``."""
    parts = []
    if started := training.started or evaluation.started:
        parts.append(f"started {started[:16]}")
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
    return [validation_table(metrics), picture(folder / "curves.png", alternative, "Also saved as curves.png.")]


def case_parts(training: Stage, evaluation: Stage, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The worst, the median and the best test case, as slices and in the viewer; writes ``worst_case.png`` and so on.

    Args:
        training: its datalist names channels and scheme where the evaluation's does not.
        evaluation: whose folder gets the pictures.
        rows: test/cases.json, lowest mean Dice first.

    Returns:
        A picture and a viewer each, or a sentence that tells why there is none.
    """
    datalist = training.datalist | evaluation.datalist
    summary = optional_json(evaluation.folder / "summary.json", "summary of the test")
    scheme = str(summary.get("label_scheme") or datalist.get("label_scheme"))
    modalities = datalist.get("modalities") or MODALITIES
    chosen = {"worst": rows[0], "best": rows[-1]} if len(rows) > 1 else {"only": rows[0]}
    if len(rows) > 2:
        chosen = {"worst": rows[0], "median": rows[len(rows) // 2], "best": rows[-1]}
    parts = []
    for which, row in chosen.items():
        regions = ", ".join(f"{region} {number(value, 3)}" for region, value in row["dice"].items())
        caption = f"{which.capitalize()} case: {row['case']}, mean Dice {number(mean_dice(row), 3)} ({regions})."
        target = evaluation.folder / f"{which.replace('only', 'best')}_case.png"
        if not row.get("image"):
            parts.append(paragraph(f"{caption} Its images are not known: label maps alone were scored."))
            continue
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
        # The viewer asks for more than the picture, one grid for all files.
        try:
            parts.append(folded("Look through all slices of this case", case_viewer(row, scheme, modalities)))
        except InputError as error:
            parts.append(paragraph(f"Its slices cannot be looked through: {error}"))
    return parts


def case_viewer(row: Mapping[str, Any], scheme: str, modalities: Sequence[str]) -> str:
    """The viewer of a test case as a frame, with as many voxels as fit into ``VIEWER_BYTES``.

    Raises:
        InputError: a file is absent, unreadable or on another grid.
    """
    images = tuple(Path(file) for file in row["image"])
    source = Source(row["case"], images, None, tuple(modalities), named=True)
    case = load_viewed_case(source, row.get("truth") or None, row["prediction"], scheme)
    for step in STEPS:
        html = CaseView(case, step=step).to_html()
        if len(html) <= VIEWER_BYTES:
            break
    return frame(html, f"Viewer of {row['case']}", VIEWER_HEIGHT)


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


def main(argv: Sequence[str] | None = None) -> int:
    """Make the report of one run anew."""
    parser = argparse.ArgumentParser(prog="python -m scripts.report", description="Write the report of a run anew.")
    parser.add_argument("--run_dir", type=Path, required=True, help="folder of the run, for example runs/my_run")
    parser.add_argument("--scores_dir", type=Path, help="folder of an evaluation on other data; default: test in it")
    options = parser.parse_args(argv)
    return one_sentence(lambda: _report(options.run_dir, options.scores_dir))


def _report(run_dir: Path, scores_dir: Path | None) -> int:
    """Write the report and tell where it is."""
    print(write_report(run_dir, scores_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main())
