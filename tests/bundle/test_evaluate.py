"""Predictions of any tool scored from their files, and what is refused in a sentence."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scripts.evaluate import main
from scripts.label_folders import find_labels
from scripts.report import write_report
from scripts.scores import COUNTS, SCORES
from tiny import AFFINE, STYLES, save, write_brats_folders, write_decathlon
from workflow import BUNDLE

CASES = ["BRATS_001", "BRATS_002", "BRATS_010"]


def voxels(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj)


@pytest.fixture
def truths(tmp_path: Path) -> Path:
    """A Decathlon folder of three cases."""
    folder = write_decathlon(tmp_path / "Task01", cases=3)
    (folder / "labelsTr" / "BRATS_003.nii.gz").rename(folder / "labelsTr" / "BRATS_010.nii.gz")
    return folder


def predict(truths: Path, folder: Path, name: str = "{}.nii.gz", ids: dict[int, int] | None = None) -> Path:
    """Predictions that are the truth moved by a voxel."""
    for case in CASES:
        moved = np.roll(voxels(truths / "labelsTr" / f"{case}.nii.gz"), 1, 0)
        save(np.vectorize((ids or {}).get, otypes=[np.uint8])(moved) if ids else moved, folder / name.format(case))
    return folder


def score(tmp_path: Path, predictions: Path, reference: Path, *options: str) -> list[dict[str, Any]]:
    """Rows of cases.json."""
    arguments = ["--prediction_dir", str(predictions), "--reference_dir", str(reference), "--jobs", "1"]
    scheme = [] if "--label_scheme" in options else ["--label_scheme", "msd"]
    assert main([*arguments, *scheme, "--output_dir", str(tmp_path / "out"), *options]) == 0
    return json.loads((tmp_path / "out" / "cases.json").read_text(encoding="utf-8"))


def measures(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in ("case", *SCORES, *COUNTS)} for row in rows]


def test_tables_and_what_is_printed(truths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = predict(truths, tmp_path / "P")
    save(np.zeros_like(voxels(predictions / "BRATS_002.nii.gz")), predictions / "BRATS_002.nii.gz")
    rows = score(tmp_path, predictions, truths)
    assert [row["case"] for row in rows] == CASES
    assert rows[1]["dice"] == {"TC": 0.0, "WT": 0.0, "ET": 0.0} and rows[1]["lesions_missed"]["WT"] == 1
    assert all(0.5 < value < 1 for value in rows[0]["dice"].values())
    assert rows[0]["truth"] == str(truths / "labelsTr" / "BRATS_001.nii.gz")
    # 2 x 2 x 3 mm voxels.
    volume_ml = (voxels(truths / "labelsTr" / "BRATS_001.nii.gz") > 0).sum() * 0.012
    assert rows[0]["truth_ml"]["WT"] == pytest.approx(volume_ml)
    printed = capsys.readouterr().out
    assert "3 cases, means and 95 % intervals" in printed
    assert "lowest mean Dice: BRATS_002 0.000, BRATS_0" in printed
    with (tmp_path / "out" / "cases.csv").open(encoding="utf-8") as lines:
        assert [line["case"] for line in csv.DictReader(lines)] == CASES
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["n_cases"] == 3


@pytest.mark.parametrize("name", ["{}.nii.gz", "{}_seg.nii.gz", "{}-seg.nii.gz", "{}.nii", "{0}/{0}-seg.nii.gz"])
def test_names_of_any_tool(name: str, truths: Path, tmp_path: Path) -> None:
    wanted = score(tmp_path, predict(truths, tmp_path / "plain"), truths)
    predictions = predict(truths, tmp_path / "P", name)
    # What tools leave beside their predictions.
    (predictions / "plans.json").write_text("{}")
    if "/" not in name:
        save(np.zeros((24, 28, 20, 3), np.float32), predictions / "BRATS_001_prob.nii.gz")
        save(np.zeros((24, 28, 20), np.float32), predictions / "BRATS_001_unc.nii.gz")
    if "seg" in name and "/" not in name:
        save(np.zeros((24, 28, 20), np.float32), predictions / "BRATS_001_t1ce.nii.gz")
    assert measures(score(tmp_path, predictions, truths / "labelsTr")) == measures(wanted)


@pytest.mark.parametrize("style", ["2021", "2023"])
def test_reference_in_per_patient_folders(style: str, tmp_path: Path) -> None:
    folder = write_brats_folders(tmp_path / "BraTS", cases=2, style=style)
    ending = STYLES[style][0][4]
    for case in find_labels(folder, "--reference_dir"):
        labels = voxels(folder / case / f"{case}{ending}.nii.gz")
        save(labels, tmp_path / "P" / f"{case}.nii.gz")
    rows = score(tmp_path, tmp_path / "P", folder, "--label_scheme", f"brats{'2018' if style == '2021' else style}")
    assert len(rows) == 2 and {value for row in rows for value in row["dice"].values()} == {1.0}


def test_labels_without_their_images_are_cases_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One patient of a per-patient data set whose images were not copied; what is hidden is no patient."""
    folder = write_brats_folders(tmp_path / "BraTS", cases=3)
    cases = list(find_labels(folder, "--reference_dir"))
    for image in (folder / cases[1]).glob("*[!g].nii.gz"):
        image.unlink()
    assert [file.name for file in (folder / cases[1]).iterdir()] == [f"{cases[1]}_seg.nii.gz"]
    save(voxels(folder / cases[1] / f"{cases[1]}_seg.nii.gz"), folder / ".trash" / "gone_seg.nii.gz")
    assert list(find_labels(folder, "--reference_dir")) == cases
    for case in (cases[0], cases[2]):
        save(voxels(folder / case / f"{case}_seg.nii.gz"), tmp_path / "P" / f"{case}.nii.gz")
    folders = ["--prediction_dir", str(tmp_path / "P"), "--reference_dir", str(folder)]
    error = refused(tmp_path, capsys, *folders, "--label_scheme", "brats2018")
    assert f"1 in the reference, but not predicted ({cases[1]})" in error


def test_predictions_below_the_reference_are_no_truth(tmp_path: Path) -> None:
    """Neither of a case with a label beside its images, nor of one that has none there."""
    folder = write_brats_folders(tmp_path / "BraTS", cases=2)
    (first, file), (second, other) = find_labels(folder, "--reference_dir").items()
    for case in (first, second):
        save(voxels(file), folder / "predictions" / f"{case}_seg.nii.gz")
    assert find_labels(folder, "--reference_dir") == {first: file, second: other}
    other.unlink()
    assert find_labels(folder, "--reference_dir") == {first: file}


def test_a_fourth_axis_of_one_is_dropped(truths: Path, tmp_path: Path) -> None:
    """As in training; on one side, and on both."""
    predictions = predict(truths, tmp_path / "P")
    wanted = score(tmp_path, predictions, truths)
    for folder in (predictions, truths / "labelsTr"):
        for case in CASES:
            save(voxels(folder / f"{case}.nii.gz")[..., None], folder / f"{case}.nii.gz")
        assert voxels(folder / "BRATS_001.nii.gz").shape == (24, 28, 20, 1)
        assert score(tmp_path, predictions, truths) == wanted


def test_predictions_of_other_ids(truths: Path, tmp_path: Path) -> None:
    """A model of BraTS 2018's ids against Decathlon's: edema is 2 there, the core 1, and what enhances 4."""
    wanted = score(tmp_path, predict(truths, tmp_path / "same"), truths)
    predictions = predict(truths, tmp_path / "P", ids={0: 0, 1: 2, 2: 1, 3: 4})
    found = score(tmp_path, predictions, truths, "--label_scheme", "brats2018", "--reference_scheme", "msd")
    assert measures(found) == measures(wanted)
    binary = predict(truths, tmp_path / "B", ids={0: 0, 1: 1, 2: 1, 3: 1})
    (first, *_) = score(tmp_path, binary, truths, "--label_scheme", "binary", "--reference_scheme", "msd")
    assert first["dice"] == {"WT": wanted[0]["dice"]["WT"]}


def test_labels_are_scored_one_by_one(truths: Path, tmp_path: Path) -> None:
    predictions = predict(truths, tmp_path / "P")
    rows = score(tmp_path, predictions, truths, "--labels")
    for row in rows:
        ids = [voxels(folder / f"{row['case']}.nii.gz") for folder in (truths / "labelsTr", predictions)]
        for value in (1, 2, 3):
            one, other = (found == value for found in ids)
            assert row["dice"][str(value)] == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_processes_change_nothing(truths: Path, tmp_path: Path) -> None:
    """Started as it is typed; and without MONAI, whose import takes longer than scoring a case."""
    predictions = predict(truths, tmp_path / "P")
    wanted = score(tmp_path, predictions, truths)
    paths = [
        "--prediction_dir",
        str(predictions),
        "--reference_dir",
        str(truths),
        "--output_dir",
        str(tmp_path / "two"),
    ]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "scripts.evaluate", *paths, "--label_scheme", "msd", "--jobs", "2"],
        cwd=BUNDLE, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "scripts.scores" in imported and not {"monai", "ignite"} & imported
    assert json.loads((tmp_path / "two" / "cases.json").read_text(encoding="utf-8")) == wanted


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The error of a command that must fail and write nothing."""
    assert main([*options, "--output_dir", str(tmp_path / "out"), "--jobs", "1"]) == 1
    assert not (tmp_path / "out").exists()
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "Traceback" not in error
    return error


def spoil(how: str, file: Path) -> None:
    """Make one prediction unusable."""
    labels = voxels(file)
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:400])
    elif how == "no NIfTI":
        file.write_bytes(b"nothing of the kind")
    elif how == "shape":
        save(labels[:-1], file)
    elif how == "affine":
        save(labels, file, AFFINE + np.diag([0, 0, 0.01, 0]))
    elif how == "NaN in the affine":
        header = nib.load(file).header.copy()
        header["sform_code"], header["srow_x"] = 1, np.nan
        nib.save(nib.Nifti1Image(labels, None, header), file)
    elif how == "flat affine":
        # Not by nibabel's own saving, which makes a qform of it.
        content = bytearray(gzip.decompress(file.read_bytes()))
        header = nib.Nifti1Header(bytes(content[:348]), check=False)
        header["sform_code"], header["srow_z"] = 1, 0
        file.write_bytes(gzip.compress(bytes(header.binaryblock + content[348:])))
    elif how == "4-D":
        save(np.stack([labels, labels], -1), file)
    elif how == "colours":
        colours = np.zeros(labels.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
        save(colours, file)
    elif how == "complex":
        save(labels.astype(np.complex64), file)
    elif how == "foreign label":
        save(np.where(labels == 3, 4, labels), file)
    elif how == "probabilities":
        save(labels / np.float32(3), file)
    else:
        save(np.where(labels == 3, -1, labels.astype(np.int16)), file)


REFUSED = {
    "truncated": "cannot be read",
    "no NIfTI": "cannot be read",
    "shape": "has shape 23x28x20, but its reference",
    "affine": "has another affine than its reference",
    "NaN in the affine": "has an affine that cannot be inverted",
    "flat affine": "has an affine that cannot be inverted",
    "4-D": "has shape 24x28x20x2, but a 3-D label map is wanted",
    "colours": "has voxels of type [('R', 'u1'), ('G', 'u1'), ('B', 'u1')], but numbers are wanted",
    "complex": "has voxels of type complex64, but numbers are wanted",
    "foreign label": "label value 4 is not in scheme 'msd' (0, 1, 2, 3)",
    "probabilities": "holds whole numbers, but here is 0.333",
    "negative": "holds whole numbers, but here is -1",
}


@pytest.mark.parametrize("how", REFUSED)
def test_an_unusable_file_is_one_sentence(
    how: str, truths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = predict(truths, tmp_path / "P")
    spoil(how, predictions / "BRATS_002.nii.gz")
    folders = ["--prediction_dir", str(predictions), "--reference_dir", str(truths), "--label_scheme", "msd"]
    error = refused(tmp_path, capsys, *folders)
    assert REFUSED[how] in error and str(predictions / "BRATS_002.nii.gz") in error
    assert len(error.strip().splitlines()) == 1
    # The reference is held to the same.
    if how in ("truncated", "foreign label", "flat affine"):
        error = refused(tmp_path, capsys, *(str(truths) if f == str(predictions) else f for f in folders[:3]),
                        str(predictions), "--label_scheme", "msd")  # fmt: skip
        assert REFUSED[how] in error and str(predictions / "BRATS_002.nii.gz") in error


@pytest.mark.parametrize("how", ["shape", "foreign label"])
def test_several_unusable_files_are_a_line_each(
    how: str, truths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = predict(truths, tmp_path / "P")
    for case in CASES[1:]:
        spoil(how, predictions / f"{case}.nii.gz")
    error = refused(
        tmp_path, capsys, "--prediction_dir", str(predictions), "--reference_dir", str(truths), "--label_scheme", "msd"
    )
    head, *lines = error.strip().splitlines()
    assert head == "error: 2 of 3 cases cannot be scored; mend or leave them out:"
    assert [line.split(":")[0].strip() for line in lines] == CASES[1:]
    assert all(REFUSED[how] in line for line in lines)


def test_unusable_grids_and_labels_are_named_in_one_run(
    truths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = predict(truths, tmp_path / "P")
    wrong = {"BRATS_001": "foreign label", "BRATS_002": "shape", "BRATS_010": "truncated"}
    for case, how in wrong.items():
        spoil(how, predictions / f"{case}.nii.gz")
    error = refused(
        tmp_path, capsys, "--prediction_dir", str(predictions), "--reference_dir", str(truths), "--label_scheme", "msd"
    )
    _, *lines = error.strip().splitlines()
    assert [line.split(":")[0].strip() for line in lines] == CASES
    assert all(REFUSED[how] in line for how, line in zip(wrong.values(), lines, strict=True))


def test_the_summary_tells_what_was_scored(truths: Path, tmp_path: Path) -> None:
    predictions = predict(truths, tmp_path / "P", ids={0: 0, 1: 2, 2: 1, 3: 4})
    (predictions / "BRATS_002.nii.gz").unlink()
    about = {"label_scheme": "brats2018", "reference_scheme": "msd", "by_label": False, "cases_left_out": ["BRATS_002"]}
    score(tmp_path, predictions, truths, "--label_scheme", "brats2018", "--reference_scheme", "msd", "--predicted_only")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert {name: summary[name] for name in about} == about
    score(tmp_path, truths, truths, "--labels")
    assert json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["by_label"] is True


@pytest.mark.parametrize("options", [[], ["--labels"]])
def test_a_report_has_the_worst_case_first(options: list[str], truths: Path, tmp_path: Path) -> None:
    predictions = predict(truths, tmp_path / "P")
    save(np.zeros_like(voxels(predictions / "BRATS_010.nii.gz")), predictions / "BRATS_010.nii.gz")
    (predictions / "BRATS_002.nii.gz").unlink()
    score(tmp_path, predictions, truths, "--predicted_only", *options)
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    places = [html.index(text) for text in ("Results", "Every case", "BRATS_010<", "BRATS_001<", "BRATS_002")]
    assert places == sorted(places)
    assert ("tumour core" in html) == (not options)
    assert "1 of the reference&#x27;s cases not predicted" in html


@pytest.mark.parametrize("options", [[], ["--labels"]])
def test_a_runs_report_can_be_made_of_the_tables(options: list[str], truths: Path, tmp_path: Path) -> None:
    """As ``test/`` of a run's folder; the cases' images are not known."""
    score(tmp_path, predict(truths, tmp_path / "P"), truths, *options)
    (tmp_path / "out").rename(tmp_path / "test")
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Worst case: BRATS_0" in html and "Its images are not known" in html and "<img" not in html


def change_folders(how: str, predictions: Path, reference: Path) -> None:
    """Make the two folders not fit each other."""
    if how == "not predicted":
        (predictions / "BRATS_001.nii.gz").unlink()
    elif how == "no reference":
        (reference / "labelsTr" / "BRATS_001.nii.gz").unlink()
    elif how == "twice":
        save(voxels(predictions / "BRATS_001.nii.gz"), predictions / "BRATS_001.nii")
    elif how == "named otherwise":
        (predictions / "BRATS_001.nii.gz").rename(predictions / "BRATS_001_seg.nii.gz")
    elif how == "empty":
        for file in predictions.iterdir():
            file.unlink()
    else:
        for file in predictions.iterdir():
            file.unlink()
        predictions.rmdir()


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (
            "not predicted",
            "1 in the reference, but not predicted (BRATS_001): predict them, or leave them out with --pred",
        ),
        (
            "no reference",
            "1 predicted, but not in the reference (BRATS_001): remove them from the predictions, or add their labels",
        ),
        ("twice", "two label maps of case BRATS_001"),
        (
            "named otherwise",
            "holds 1 label maps named as such (BRATS_001_seg.nii.gz) and 2 files that are not (BRATS_002",
        ),
        ("empty", "holds no label maps; wanted in --prediction_dir"),
        ("absent", "there is no such folder; check --prediction_dir"),
    ],
)
def test_folders_that_do_not_fit_are_refused(
    how: str, sentence: str, truths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = predict(truths, tmp_path / "P")
    change_folders(how, predictions, truths)
    folders = ["--prediction_dir", str(predictions), "--reference_dir", str(truths), "--label_scheme", "msd"]
    error = refused(tmp_path, capsys, *folders)
    assert sentence in error and str(predictions) in error
    if how in ("not predicted", "no reference"):
        assert str(truths) in error
    if how == "not predicted":
        assert [row["case"] for row in score(tmp_path, predictions, truths, "--predicted_only")] == CASES[1:]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--label_scheme", "msc"], "label_scheme 'msc' is unknown"),
        (["--label_scheme", "msd", "--reference_scheme", "brats"], "label_scheme 'brats' is unknown"),
        (["--label_scheme", "msd", "--jobs", "0"], "--jobs 0"),
        (["--label_scheme", "msd", "--reference_scheme", "brats2018", "--labels"], "--labels compares ids"),
    ],
)
def test_options_that_cannot_be(
    options: list[str], sentence: str, truths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--prediction_dir", str(truths), "--reference_dir", str(truths), "--output_dir", str(tmp_path / "out")]
    assert main([*folders, *options]) == 1
    assert sentence in capsys.readouterr().err


NNUNET = {"background": 0, "edema": 1, "non-enhancing": 2, "enhancing": 3}
OF_REGIONS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}


@pytest.mark.parametrize("reference", ["", "labelsTr", "labelsTs"])
@pytest.mark.parametrize("labels", [None, NNUNET])
def test_a_scheme_that_the_reference_denies_is_refused(
    reference: str,
    labels: dict[str, Any] | None,
    truths: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The ids of BraTS 2023 are the Decathlon's, with edema and core exchanged: no value tells them apart."""
    predictions = predict(truths, tmp_path / "P")
    if reference:
        (truths / "labelsTr").rename(truths / reference)
    if labels:
        (truths / "dataset.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
    folders = ["--prediction_dir", str(predictions), "--reference_dir", str(truths / reference)]
    error = refused(tmp_path, capsys, *folders, "--label_scheme", "brats2023")
    assert f"label_scheme 'brats2023' contradicts {truths / 'dataset.json'}, whose labels are those of 'msd'" in error
    assert "pass --reference_scheme msd" in error
    assert score(tmp_path, predictions, truths / reference, "--label_scheme", "brats2023", "--reference_scheme", "msd")


def test_a_scheme_that_the_predictions_deny_is_refused(
    truths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """nnU-Net copies dataset.json beside its predictions; labels that are regions deny nothing."""
    predictions = predict(truths, tmp_path / "P")
    folders = ["--prediction_dir", str(predictions), "--reference_dir", str(truths)]
    options = ["--label_scheme", "brats2023", "--reference_scheme", "msd"]
    (predictions / "dataset.json").write_text(json.dumps({"labels": NNUNET}), encoding="utf-8")
    assert "pass --label_scheme msd" in refused(tmp_path, capsys, *folders, *options)
    (predictions / "dataset.json").write_text(json.dumps({"labels": OF_REGIONS}), encoding="utf-8")
    assert score(tmp_path, predictions, truths, *options)


def test_an_affines_rounding_is_no_other_grid(truths: Path, tmp_path: Path) -> None:
    """SimpleITK, by which nnU-Net writes, stores other last digits."""
    predictions = predict(truths, tmp_path / "P")
    for case in CASES:
        save(voxels(predictions / f"{case}.nii.gz"), predictions / f"{case}.nii.gz", AFFINE + 5e-4)
    assert len(score(tmp_path, predictions, truths)) == 3


def test_an_odd_name_belongs_to_the_patient_of_its_folder(tmp_path: Path) -> None:
    """BraTS 2020's case 355 has a label of another name."""
    folder = write_brats_folders(tmp_path / "BraTS", cases=2)
    (first, *_) = find_labels(folder, "--reference_dir").items()
    first[1].rename(first[1].with_name("W39_1998.09.19_Segm.nii.gz"))
    found = find_labels(folder, "--reference_dir")
    assert list(found) == ["BraTS2021_00000", "BraTS2021_00001"] and "W39" in found["BraTS2021_00000"].name


def kept(folder: Path) -> dict[str, bytes]:
    """Name to content of a folder's files."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize("name", ["report.html", "cases.csv"])
def test_tables_and_report_are_written_together(
    name: str,
    truths: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of an earlier evaluation stay; whether it shows before scoring, or as the last of them is written."""
    predictions = predict(truths, tmp_path / "P")
    score(tmp_path, truths, truths)
    (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / name).mkdir()
    before = kept(tmp_path / "out")
    assert len(before) == 3
    options = ["--prediction_dir", str(predictions), "--reference_dir", str(truths), "--label_scheme", "msd"]
    options += ["--output_dir", str(tmp_path / "out"), "--jobs", "1"]
    monkeypatch.setattr("scripts.evaluate.score_pair", lambda *_: pytest.fail("scored before the folder was probed"))
    assert main(options) == 1
    assert f"{tmp_path / 'out' / name}: cannot be written (it is a folder); move it away" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr("scripts.evaluate.refuse_unwritable", lambda *_: None)
    assert main(options) == 1
    assert f"{tmp_path / 'out' / name}: cannot be written" in capsys.readouterr().err
    assert kept(tmp_path / "out") == before


def test_a_file_for_an_output_folder_is_refused_before_scoring(
    truths: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "out"
    file.write_text("mine")
    monkeypatch.setattr("scripts.evaluate.score_pair", lambda *_: pytest.fail("scored before the folder was probed"))
    for folder in (file, file / "of" / "it"):
        options = ["--prediction_dir", str(truths), "--reference_dir", str(truths), "--label_scheme", "msd"]
        assert main([*options, "--output_dir", str(folder), "--jobs", "1"]) == 1
        sentence = f"{folder}: cannot be written ({file} is no folder); move that file away or choose another folder"
        assert sentence in capsys.readouterr().err
    assert file.read_text() == "mine"
