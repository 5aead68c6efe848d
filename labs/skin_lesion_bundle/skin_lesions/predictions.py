"""What a model said of a part of the data, and the table of it: cases.csv."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skin_lesions.calibration import calibrated
from skin_lesions.errors import InputError
from skin_lesions.files import write_aside
from skin_lesions.scores import Floats

CASES_FILE = "cases.csv"
# A column a class, such as p_mel, of the probability before calibration.
PROBABILITY = "p_"
COLUMNS = ("image", "lesion", "truth", "predicted", "confidence")


@dataclass(frozen=True)
class Predictions:
    """The predictions of N images.

    Attributes:
        images: their names.
        lesions: the lesion that each shows.
        classes: codes of the K classes in the order of channels.
        truth: index of the true class, (N,).
        probabilities: as the network gives them, (N, K).
        temperature: calibrates them.
    """

    images: tuple[str, ...]
    lesions: tuple[str, ...]
    classes: tuple[str, ...]
    truth: NDArray[np.int64]
    probabilities: Floats
    temperature: float

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class, (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def calibrated(self) -> Floats:
        """Probabilities at the temperature, (N, K)."""
        # Logarithms of probabilities are logits; one that is 0 stays 0.
        with np.errstate(divide="ignore"):
            return calibrated(np.log(self.probabilities), self.temperature)

    @property
    def confidence(self) -> Floats:
        """The calibrated probability of the predicted class, (N,)."""
        return self.calibrated.max(axis=1)

    def in_order_of_images(self) -> Predictions:
        """The same, sorted by the images' names: for pairs with those of another model."""
        order = sorted(range(len(self.images)), key=self.images.__getitem__)
        images, lesions = (tuple(names[index] for index in order) for names in (self.images, self.lesions))
        return Predictions(
            images, lesions, self.classes, self.truth[order], self.probabilities[order], self.temperature
        )


def write_cases(folder: Path, predictions: Predictions) -> Path:
    """Write ``cases.csv``, a row an image; returns the file.

    Raises:
        InputError: the folder cannot be written to.
    """
    target = folder / CASES_FILE
    with write_aside(target) as aside, aside.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow([*COLUMNS, *(PROBABILITY + code for code in predictions.classes)])
        names = np.array(predictions.classes)
        writer.writerows(
            [*row, *probabilities.tolist()]
            for *row, probabilities in zip(
                predictions.images,
                predictions.lesions,
                names[predictions.truth].tolist(),
                names[predictions.predicted].tolist(),
                predictions.confidence.tolist(),
                predictions.probabilities,
                strict=True,
            )
        )
    return target


def read_cases(file: Path, temperature: float) -> Predictions:
    """Read what :func:`write_cases` wrote.

    Args:
        file: cases.csv.
        temperature: of the model, from the summary beside it.

    Raises:
        InputError: there is no such file, or it is no table of an evaluation.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); run configs/evaluate.json first.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{file}: is no table ({error}); run configs/evaluate.json anew.") from error
    columns = list(rows[0]) if rows else []
    classes = tuple(name.removeprefix(PROBABILITY) for name in columns if str(name).startswith(PROBABILITY))
    if len(classes) < 2 or set(COLUMNS) - set(columns):
        raise InputError(
            f"{file}: has {len(rows)} rows of the columns {columns}, but those of an evaluation are wanted, {COLUMNS} "
            "and two probabilities at least; run configs/evaluate.json anew."
        )
    return Predictions(
        images=tuple(row["image"] for row in rows),
        lesions=tuple(row["lesion"] for row in rows),
        classes=classes,
        truth=_truth(file, rows, classes),
        probabilities=_probabilities(file, rows, classes),
        temperature=temperature,
    )


def _truth(file: Path, rows: Sequence[dict[str, str]], classes: tuple[str, ...]) -> NDArray[np.int64]:
    index = {code: label for label, code in enumerate(classes)}
    for line, row in enumerate(rows, start=2):
        if row["truth"] not in index:
            raise InputError(
                f"{file}: line {line} has the true class '{row['truth']}', which is none of {', '.join(classes)}; "
                "run configs/evaluate.json anew."
            )
    return np.array([index[row["truth"]] for row in rows], dtype=np.int64)


def _probabilities(file: Path, rows: Sequence[dict[str, str]], classes: tuple[str, ...]) -> Floats:
    try:
        return np.array([[float(row[PROBABILITY + code]) for code in classes] for row in rows])
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: a probability is no number ({error}); run configs/evaluate.json anew.") from error
