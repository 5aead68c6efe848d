"""The scores of a part of the data, with intervals, as cases.csv, summary.json and report.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_lesions import bootstrap, scores
from skin_lesions.calibration import expected_calibration_error
from skin_lesions.files import write_json
from skin_lesions.predictions import Predictions
from skin_lesions.scores import Floats
from skin_lesions.weighted_scores import weighted_ece, weighted_scores

SUMMARY_FILE = "summary.json"
OVERALL = (*scores.OVERALL, "ece_uncalibrated", "ece")
HEADINGS = {
    "macro_auc": "ROC AUC, mean of classes",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "ece_uncalibrated": "ECE without temperature",
    "ece": "ECE with temperature",
    "auc": "ROC AUC",
    "recall": "recall",
    "precision": "precision",
}


def measure(predictions: Predictions) -> dict[str, float | Floats]:
    """Every measure of ``OVERALL``, a number, and of ``scores.BY_CLASS``, (K,).

    Discrimination is that of the network's own probabilities; a temperature leaves predictions as they are, but not
    the order of two images by the probability of a class.
    """
    truth, probabilities = predictions.truth, predictions.probabilities
    return scores.score(truth, probabilities) | {
        "ece_uncalibrated": expected_calibration_error(truth, probabilities),
        "ece": expected_calibration_error(truth, predictions.calibrated),
    }


def draw_measures(predictions: Predictions) -> bootstrap.Draws:
    """The same measures in each bootstrap sample of the lesions, (B,) and (B, K).

    Raises:
        ValueError: the images are of fewer than two lesions.
    """
    truth, probabilities, calibrated = predictions.truth, predictions.probabilities, predictions.calibrated

    def measures(weights: NDArray[np.int64]) -> bootstrap.Draws:
        return weighted_scores(truth, probabilities, weights) | {
            "ece_uncalibrated": weighted_ece(truth, probabilities, weights),
            "ece": weighted_ece(truth, calibrated, weights),
        }

    return bootstrap.draw(measures, predictions.lesions)


def summarise(predictions: Predictions) -> dict[str, Any]:
    """What summary.json holds; null stands for what a class does not have, such as the recall of an absent one.

    Returns:
        Counts, ``classes``, ``absent_classes`` and ``temperature``; each measure, by class where it is one of a class;
        ``confusion_matrix``, true classes in rows; ``interval``, two bounds for each measure, and ``bootstrap`` with
        what they were made with. Images of a single lesion have no interval.
    """
    classes = predictions.classes
    counts = np.bincount(predictions.truth, minlength=len(classes)).tolist()
    summary: dict[str, Any] = {
        "n_images": len(predictions.images),
        "n_lesions": len(set(predictions.lesions)),
        "classes": list(classes),
        "images_by_class": dict(zip(classes, counts, strict=True)),
        "absent_classes": scores.absent_classes(predictions.truth, classes),
        "temperature": predictions.temperature,
    }
    found = measure(predictions)
    summary |= {name: _number(found[name]) for name in OVERALL}
    summary |= {
        name: {code: _number(value) for code, value in zip(classes, found[name], strict=True)}
        for name in scores.BY_CLASS
    }
    summary["confusion_matrix"] = scores.confusion_matrix(predictions.truth, predictions.probabilities).tolist()
    if summary["n_lesions"] > 1:
        summary["interval"] = _intervals(predictions)
        summary["bootstrap"] = {
            "unit": "lesion",
            "level": bootstrap.LEVEL,
            "resamples": bootstrap.RESAMPLES,
            "seed": bootstrap.SEED,
        }
    return summary


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``summary.json``.

    Raises:
        InputError: the folder cannot be written to.
    """
    write_json(folder / SUMMARY_FILE, summary)


def text_table(summary: Mapping[str, Any]) -> str:
    """The overall measures as text, a line each."""
    bounds = summary.get("interval", {})
    told = ", with 95 % intervals over lesions" if bounds else ""
    lines = [f"{summary['n_images']} images of {summary['n_lesions']} lesions{told}"]
    lines += [f"{HEADINGS[name]:<26}{with_interval(summary[name], bounds.get(name))}" for name in OVERALL]
    return "\n".join(lines)


def with_interval(value: float | None, bounds: list[float | None] | None, signed: bool = False) -> str:
    """A measure as text, such as ``0.812 (0.771 to 0.850)``; a dash where there is none."""
    form = "+.3f" if signed else ".3f"
    if value is None:
        return "–"
    if bounds is None or None in bounds:
        return format(value, form)
    return f"{value:{form}} ({bounds[0]:{form}} to {bounds[1]:{form}})"


def _intervals(predictions: Predictions) -> dict[str, Any]:
    bounds = {name: bootstrap.interval(values) for name, values in draw_measures(predictions).items()}
    found: dict[str, Any] = {name: [_number(bound) for bound in bounds[name]] for name in OVERALL}
    for name in scores.BY_CLASS:
        found[name] = {
            code: [_number(bound) for bound in pair]
            for code, pair in zip(predictions.classes, bounds[name].T, strict=True)
        }
    return found


def _number(value: Any) -> float | None:
    """A number as JSON has it, which knows no NaN."""
    return None if np.isnan(value) else float(value)
