"""The report of an evaluation: one HTML file with its scores, curves, calibration and most confident errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skin_lesions.calibration import BINS, reliability
from skin_lesions.classes import PLAIN_NAMES
from skin_lesions.evaluation import HEADINGS, OVERALL, with_interval
from skin_lesions.figures import reliability_figure, roc_figure, thumbnail
from skin_lesions.files import write_aside
from skin_lesions.predictions import Predictions
from skin_lesions.report_html import gallery, page, paragraph, picture, section, table
from skin_lesions.scores import BY_CLASS, roc_curve

REPORT_FILE = "report.html"
CLINICAL = "Not for clinical use."
INTERVAL = "95 % interval"
ERRORS_SHOWN = 12


def write_report(
    folder: Path,
    predictions: Predictions,
    summary: Mapping[str, Any],
    files: Sequence[str],
    title: str,
    notices: Sequence[str] = (),
) -> Path:
    """Write ``report.html``.

    Args:
        folder: of the tables.
        predictions: of the images.
        summary: of :func:`skin_lesions.evaluation.summarise`.
        files: the pictures, in the order of the predictions.
        title: heading of the page.
        notices: that stand first, after the one that all reports have.

    Raises:
        InputError: the folder cannot be written to.
    """
    if absent := summary["absent_classes"]:
        notices = [*notices, f"No image of {', '.join(absent)}: means over classes are those of the others."]
    html = page(
        title=title,
        state=f"{summary['n_images']} images of {summary['n_lesions']} lesions, {len(predictions.classes)} classes.",
        notices=[CLINICAL, *notices],
        sections=[
            section("Results", overall_table(summary)),
            section("Classes", class_table(summary)),
            section("Confusion matrix", confusion_table(summary)),
            section("ROC curves", roc_picture(predictions, summary)),
            section("Calibration", *calibration_parts(predictions, summary)),
            section("The most confident errors", *error_parts(predictions, files)),
        ],
    )
    target = folder / REPORT_FILE
    with write_aside(target) as aside:
        aside.write_text(html, encoding="utf-8")
    return target


def overall_table(summary: Mapping[str, Any]) -> str:
    """The measures of the whole part."""
    bounds = summary.get("interval", {})
    rows = []
    for name in OVERALL:
        value, _, spread = with_interval(summary[name], bounds.get(name)).partition(" ")
        rows.append([HEADINGS[name], value, spread.strip("()")])
    return table(
        ["measure", "value", INTERVAL],
        rows,
        "ROC AUC: each class against all others, 0.5 is chance. Balanced accuracy: mean recall of the classes. ECE: "
        f"expected calibration error in {BINS} bins of confidence, 0 is best. Intervals: bootstrap over lesions, too "
        "narrow where there are few; those of ECE lie high, since repeated images look like a worse calibration.",
    )


def class_table(summary: Mapping[str, Any]) -> str:
    """A row a class."""
    bounds = summary.get("interval", {})
    rows = [
        [
            _named(code),
            str(summary["images_by_class"][code]),
            *(with_interval(summary[name][code], bounds.get(name, {}).get(code)) for name in BY_CLASS),
        ]
        for code in summary["classes"]
    ]
    return table(
        ["class", "images", *(HEADINGS[name] for name in BY_CLASS)],
        rows,
        f"With {INTERVAL}s. A dash stands for the recall and curve of a class without an image, and for the precision "
        "of one that is never predicted.",
    )


def confusion_table(summary: Mapping[str, Any]) -> str:
    """True classes in rows, predicted ones in columns."""
    counts = np.array(summary["confusion_matrix"])
    # A class without an image has a row of zeros, and stays white.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [[code, *map(str, row)] for code, row in zip(summary["classes"], counts.tolist(), strict=True)]
    return table(
        ["truth \\ predicted", *summary["classes"]],
        rows,
        "Images of the class of the row that are taken for the class of the column; the darker, the larger the share "
        "of the row.",
        shares.tolist(),
    )


def roc_picture(predictions: Predictions, summary: Mapping[str, Any]) -> str:
    """The curve of each class that has one."""
    curves = {}
    for label, code in enumerate(predictions.classes):
        points = roc_curve(predictions.truth, predictions.probabilities, label)
        if points is not None:
            curves[code] = (points, summary["auc"][code])
    areas = ", ".join(f"{code} {area:.3f}" for code, (_, area) in curves.items())
    return picture(
        roc_figure(curves),
        "png",
        f"ROC curves of each class against all others; areas: {areas or 'none'}",
        "Each class against all others: how many of its images are found, over how many others are taken for it.",
    )


def calibration_parts(predictions: Predictions, summary: Mapping[str, Any]) -> list[str]:
    """The reliability diagram before and after the temperature."""
    panels = {
        "as the network says": reliability(predictions.truth, predictions.probabilities),
        f"at temperature {predictions.temperature:.3g}": reliability(predictions.truth, predictions.calibrated),
    }
    before, after = (summary[name] for name in ("ece_uncalibrated", "ece"))
    return [
        picture(
            reliability_figure(panels),
            "png",
            f"Reliability diagrams: expected calibration error {before:.3f} before the temperature, {after:.3f} after",
            "Where points lie below the dashed line the model claims more than it keeps. The temperature was fitted on "
            "the validation part; it changes the confidence, not the predicted class.",
        )
    ]


def error_parts(predictions: Predictions, files: Sequence[str]) -> list[str]:
    """The wrong answers given with the most confidence, as pictures.

    Args:
        predictions: of the images.
        files: their pictures.
    """
    confidence, predicted = predictions.confidence, predictions.predicted
    wrong = np.flatnonzero(predicted != predictions.truth)
    if not wrong.size:
        return [paragraph("Every image is classified rightly.")]
    shown = sorted(wrong, key=lambda index: (-confidence[index], predictions.images[index]))[:ERRORS_SHOWN]
    pictures = []
    for index in shown:
        truth, taken_for = (PLAIN_NAMES[predictions.classes[label[index]]] for label in (predictions.truth, predicted))
        told = f"{truth}, taken for {taken_for} with {100 * confidence[index]:.0f} % confidence"
        name = predictions.images[index]
        pictures.append(picture(thumbnail(Path(files[index])), "jpeg", f"Image {name}: {told}", f"{name}: {told}."))
    counted = f"{wrong.size} of {len(predictions.images)} images are classified wrongly"
    return [paragraph(f"{counted}; of these the {len(shown)} with the highest confidence."), gallery(pictures)]


def _named(code: str) -> str:
    return f"{code} ({PLAIN_NAMES[code]})"
