"""The tables of an evaluation, and the comparison of several."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from predictors import predictions_of_seven
from scipy.special import softmax
from skin_lesions import compare
from skin_lesions.bootstrap import interval
from skin_lesions.classes import CLASSES
from skin_lesions.errors import InputError
from skin_lesions.evaluation import SUMMARY_FILE, draw_measures, measure, summarise, text_table, write_summary
from skin_lesions.predictions import CASES_FILE, Predictions, read_cases, write_cases


def write_run(folder: Path, predictions: Predictions) -> Path:
    """A run as its evaluation leaves it."""
    write_cases(folder / "test", predictions)
    write_summary(folder / "test", summarise(predictions))
    return folder


def test_cases_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = predictions_of_seven(factor=2.0)
    file = write_cases(tmp_path, written)
    found = read_cases(file, temperature=2.0)
    assert (found.images, found.lesions, found.classes) == (written.images, written.lesions, written.classes)
    assert found.truth.tolist() == written.truth.tolist()
    assert found.probabilities.tolist() == written.probabilities.tolist(), "not a digit is lost"
    with file.open(newline="") as lines:
        row = next(csv.DictReader(lines))
    assert list(row) == ["image", "lesion", "truth", "predicted", "confidence", *(f"p_{code}" for code in CLASSES)]
    most_probable = int(written.probabilities[0].argmax())
    at_two = np.sqrt(written.probabilities[0])
    assert row["predicted"] == CLASSES[most_probable]
    assert float(row["confidence"]) == pytest.approx(at_two[most_probable] / at_two.sum())


def test_a_probability_of_nothing_stays_nothing() -> None:
    sure = replace(predictions_of_seven(2), probabilities=np.eye(7)[:2], temperature=3.0)
    assert sure.calibrated.tolist() == np.eye(7)[:2].tolist()


def test_the_summary_holds_all_measures_and_their_intervals() -> None:
    predictions = predictions_of_seven(factor=2.5)
    summary = json.loads(json.dumps(summarise(predictions), allow_nan=False))
    assert (summary["n_images"], summary["n_lesions"]) == (140, 70)
    found, draws = measure(predictions), draw_measures(predictions)
    for name in ("macro_auc", "balanced_accuracy", "accuracy", "ece", "ece_uncalibrated"):
        assert summary[name] == found[name]
        assert summary["interval"][name] == interval(draws[name]).tolist()
    for name in ("auc", "recall", "precision"):
        for label, code in enumerate(CLASSES):
            assert summary[name][code] == found[name][label]
            assert summary["interval"][name][code] == interval(draws[name][:, label]).tolist()
            low, high = summary["interval"][name][code]
            assert low <= summary[name][code] <= high
    assert summary["ece"] < summary["ece_uncalibrated"]
    assert [sum(row) for row in summary["confusion_matrix"]] == list(summary["images_by_class"].values())
    assert summary["bootstrap"] == {"unit": "lesion", "level": 0.95, "resamples": 2000, "seed": 0}
    assert f"balanced accuracy         {summary['balanced_accuracy']:.3f} (" in text_table(summary)


def test_an_absent_class_is_null_and_named() -> None:
    everything = predictions_of_seven()
    kept = np.flatnonzero(everything.truth != CLASSES.index("df"))
    without = replace(
        everything,
        images=tuple(everything.images[i] for i in kept),
        lesions=tuple(everything.lesions[i] for i in kept),
        truth=everything.truth[kept],
        probabilities=everything.probabilities[kept],
    )
    summary = json.loads(json.dumps(summarise(without), allow_nan=False))
    assert summary["absent_classes"] == ["df"] and summary["images_by_class"]["df"] == 0
    assert summary["auc"]["df"] is None and summary["interval"]["recall"]["df"] == [None, None]
    others = [value for code, value in summary["auc"].items() if code != "df"]
    assert summary["macro_auc"] == pytest.approx(np.mean(others))


def test_a_single_lesion_has_no_interval() -> None:
    summary = summarise(replace(predictions_of_seven(20), lesions=("HAM_0",) * 20))
    assert "interval" not in summary and "bootstrap" not in summary
    assert "(" not in text_table(summary).split("\n", 1)[1]


def test_runs_in_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = predictions_of_seven(factor=2.5)
    # A better model: the truth's own probability is raised. And the order of its rows is another.
    better = replace(plain, probabilities=softmax(np.log(plain.probabilities) + 1.5 * np.eye(7)[plain.truth], axis=1))
    backwards = Predictions(
        better.images[::-1], better.lesions[::-1], CLASSES, better.truth[::-1], better.probabilities[::-1], 1.0
    )
    folders = [write_run(tmp_path / "plain", plain), write_run(tmp_path / "better", backwards)]
    compare.main([*map(str, folders), str(write_run(tmp_path / "same", plain))])
    absolute, differences = capsys.readouterr().out.split("Difference from plain")
    rows = {line.split("|")[1].strip(): line for line in absolute.splitlines() if line.startswith("| ")}
    summaries = [json.loads((folder / "test" / SUMMARY_FILE).read_text()) for folder in folders]
    for summary in summaries:
        low, high = summary["interval"]["macro_auc"]
        assert f"{summary['macro_auc']:.3f} ({low:.3f} to {high:.3f})" in rows["ROC AUC, mean of classes"]
        assert f"{summary['recall']['mel']:.3f} (" in rows["recall mel"]
    assert rows["measure"].split("|")[2:5] == [cell for cell in rows["measure"].split("|")[2:5] if cell.strip()]
    difference = summaries[1]["macro_auc"] - summaries[0]["macro_auc"]
    line = next(line for line in differences.splitlines() if "mean of classes" in line)
    assert f"{difference:+.3f} (+0." in line, "the interval of the paired difference is above 0"
    assert line.rstrip(" |").endswith("+0.000 (+0.000 to +0.000)"), "a run does not differ from itself"


def test_paired_differences_are_those_of_the_same_samples() -> None:
    one = predictions_of_seven()
    other = replace(one, probabilities=one.probabilities[:, ::-1])
    _, differences = compare.compare({"one": one, "other": other})
    samples = draw_measures(other)["accuracy"] - draw_measures(one)["accuracy"]
    low, high = np.percentile(samples, [2.5, 97.5])
    assert differences["accuracy"][0].endswith(f"({low:+.3f} to {high:+.3f})")


def spoil_missing(folder: Path) -> str:
    (folder / "test" / CASES_FILE).unlink()
    return r"cases.csv: there is no such evaluation; run configs/evaluate.json on this run first"


def spoil_summary(folder: Path) -> str:
    (folder / "test" / SUMMARY_FILE).write_text("{}")
    return "summary.json: has no temperature"


def spoil_columns(folder: Path) -> str:
    (folder / "test" / CASES_FILE).write_text("image,lesion\na,b\n")
    return r"has 1 rows of the columns \['image', 'lesion'\]"


def spoil_truth(folder: Path) -> str:
    file = folder / "test" / CASES_FILE
    head, first, *rest = file.read_text().splitlines()
    cells = first.split(",")
    file.write_text("\n".join([head, ",".join([*cells[:2], "wart", *cells[3:]]), *rest]))
    return "line 2 has the true class 'wart', which is none of akiec"


def spoil_number(folder: Path) -> str:
    file = folder / "test" / CASES_FILE
    head, first, *rest = file.read_text().splitlines()
    file.write_text("\n".join([head, first.rsplit(",", 1)[0] + ",high", *rest]))
    return "a probability is no number .*'high'"


def spoil_images(folder: Path) -> str:
    file = folder / "test" / CASES_FILE
    file.write_text(file.read_text().replace("ISIC_0000138", "ISIC_1000138"))
    return r"was not evaluated on the images of good \(e.g. ISIC_0000138\)"


def spoil_classes(folder: Path) -> str:
    file = folder / "test" / CASES_FILE
    file.write_text(file.read_text().replace("vasc", "wart"))
    return "knows the classes akiec, bcc, bkl, df, mel, nv, wart, but good akiec"


@pytest.mark.parametrize(
    "spoil", [spoil_missing, spoil_summary, spoil_columns, spoil_truth, spoil_number, spoil_images, spoil_classes]
)
def test_what_cannot_be_compared(spoil, tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", predictions_of_seven())
    bad = write_run(tmp_path / "bad", predictions_of_seven())
    with pytest.raises(InputError, match=spoil(bad)):
        compare.main([str(good), str(bad)])


def test_comparing_needs_two_runs_of_different_names(tmp_path: Path) -> None:
    run = str(write_run(tmp_path / "run", predictions_of_seven()))
    for folders in ([run], [run, run]):
        with pytest.raises(InputError, match="two or more folders of different names"):
            compare.main(folders)
