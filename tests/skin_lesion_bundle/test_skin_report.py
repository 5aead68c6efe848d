"""The report of an evaluation: whole, true to its numbers, offline, without a path."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from page import Page
from PIL import Image
from predictors import predictions_of_seven
from skin_lesions.classes import CLASSES, PLAIN_NAMES
from skin_lesions.evaluation import summarise
from skin_lesions.predictions import Predictions
from skin_lesions.report import ERRORS_SHOWN, write_report


def pictures(folder: Path, predictions: Predictions) -> list[str]:
    """A file for each image, whose colour tells its number, with a comment that must not travel on."""
    files = []
    for number, name in enumerate(predictions.images):
        file = folder / f"{name}.jpg"
        Image.new("RGB", (400, 300), (number, 0, 0)).save(file, quality=95, comment=b"John Doe")
        files.append(str(file))
    return files


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Predictions]:
    folder = tmp_path_factory.mktemp("evaluated")
    predictions = predictions_of_seven(factor=2.5)
    files = pictures(folder, predictions)
    return write_report(folder, predictions, summarise(predictions), files, "Run <one>", ["Beware & see"]), predictions


def test_opens_offline_without_a_script(evaluated: tuple[Path, Predictions]) -> None:
    html = evaluated[0].read_text(encoding="utf-8")
    page = Page(html)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert len(page.addresses) == len(page.images) == 2 + ERRORS_SHOWN
    assert not {"script", "link", "object", "iframe", "a"} & set(page.tags)
    assert "://" not in html and "url(" not in html and "@import" not in html
    assert str(evaluated[0].parent) not in html and ".jpg" not in html
    assert all(image["alt"] for image in page.images)


def test_says_what_data_may_not(evaluated: tuple[Path, Predictions]) -> None:
    html = evaluated[0].read_text(encoding="utf-8")
    assert "Run &lt;one&gt;" in html and "Beware &amp; see" in html
    assert "Not for clinical use." in html


def test_the_tables_are_those_of_the_summary(evaluated: tuple[Path, Predictions]) -> None:
    page, summary = Page(evaluated[0].read_text(encoding="utf-8")), summarise(evaluated[1])
    for name, heading in (("macro_auc", "ROC AUC, mean of classes"), ("ece", "ECE with temperature")):
        low, high = summary["interval"][name]
        assert page.row(heading) == [f"{summary[name]:.3f}", f"{low:.3f} to {high:.3f}"]
    assert page.row("mel (melanoma)")[0] == str(summary["images_by_class"]["mel"])
    for cell, name in zip(page.row("mel (melanoma)")[1:], ("auc", "recall", "precision"), strict=True):
        low, high = summary["interval"][name]["mel"]
        assert cell == f"{summary[name]['mel']:.3f} ({low:.3f} to {high:.3f})"
    assert page.row("truth \\ predicted") == list(CLASSES)
    assert [list(map(int, page.row(code))) for code in CLASSES] == summary["confusion_matrix"]
    roc, reliability = page.images[:2]
    assert roc["alt"].endswith("areas: " + ", ".join(f"{code} {area:.3f}" for code, area in summary["auc"].items()))
    before, after = summary["ece_uncalibrated"], summary["ece"]
    assert reliability["alt"].endswith(f"error {before:.3f} before the temperature, {after:.3f} after")


def test_the_most_confident_errors_are_shown(evaluated: tuple[Path, Predictions]) -> None:
    predictions = evaluated[1]
    page = Page(evaluated[0].read_text(encoding="utf-8"))
    wrong = np.flatnonzero(predictions.predicted != predictions.truth)
    worst = wrong[np.argsort(-predictions.confidence[wrong])][:ERRORS_SHOWN]
    assert f"{len(wrong)} of 140 images are classified wrongly" in page.text
    for index, image in zip(worst, page.images[2:], strict=True):
        truth, predicted = (PLAIN_NAMES[CLASSES[label[index]]] for label in (predictions.truth, predictions.predicted))
        told = f"{truth}, taken for {predicted} with {100 * predictions.confidence[index]:.0f} % confidence"
        assert image["alt"] == f"Image {predictions.images[index]}: {told}"
        head, data = image["src"].split(",", 1)
        assert head == "data:image/jpeg;base64"
        shown = base64.b64decode(data)
        assert b"John Doe" not in shown
        with Image.open(BytesIO(shown)) as small:
            assert small.size == (192, 144)
            assert small.convert("RGB").getpixel((50, 50))[0] == pytest.approx(index, abs=4), "the image itself"


def test_a_faultless_model_and_an_absent_class(tmp_path: Path) -> None:
    some = predictions_of_seven(40)
    truth = np.where(some.truth == CLASSES.index("vasc"), 0, some.truth)
    faultless = replace(some, truth=truth, probabilities=np.eye(7)[truth])
    report = write_report(tmp_path, faultless, summarise(faultless), [], "Faultless")
    page = Page(report.read_text(encoding="utf-8"))
    assert "Every image is classified rightly." in page.text
    assert "No image of vasc: means over classes are those of the others." in page.text
    assert page.row("vasc (vascular lesion)") == ["0", "–", "–", "–"]
    assert "vasc" not in page.images[0]["alt"]
    assert len(page.images) == 2
