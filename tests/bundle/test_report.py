"""The report of a run: offline, true to the run's files, the right way round, and whole whatever the run lacks."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from page import Page, page_of
from scripts import report
from scripts.bootstrap import interval
from scripts.errors import InputError
from scripts.figures import plot_case, tissue_colours
from scripts.labels import SCHEMES, get_scheme
from scripts.report import read_metrics, write_report
from scripts.slices import EDGES, load_case, plane_slice, read_ras, tumour_slices
from scripts.viewer.page import script, source_hash
from tiny import make_case, save

# Left-posterior-superior, 1 x 1.5 x 2 mm.
LPS = np.array([[-1.0, 0, 0, 40.0], [0, -1.5, 0, 25.0], [0, 0, 2.0, -9.0], [0, 0, 0, 1.0]])
SHAPE = (30, 24, 18)
MODALITIES = ("FLAIR", "T1w", "T1gd", "T2w")
SHARES = ("surface_dice", "sensitivity", "precision", "lesion_dice")


def write_metrics(run_dir: Path, epochs: int = 4) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        record = {"epoch": epoch, "train_loss": 1 / epoch, "learning_rate": 0.01 / epoch, "seconds": 31.0}
        if epoch % 2 == 0:
            # The best epoch is not the last.
            mean = 0.7 - 0.01 * epoch
            record |= {"val_mean_dice": mean, "val_dice_TC": mean - 0.1, "val_dice_WT": mean + 0.1, "val_dice_ET": mean}
        records.append(record)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (run_dir / "metrics.jsonl").write_text(lines, encoding="utf-8")
    return records


def write_tests(run_dir: Path, names: list[str], split_files: bool = False) -> list[dict[str, Any]]:
    """``test/`` of a run with one case a name; files are named by number, because a name may be any text."""
    data = run_dir / "data"
    rows = []
    for index, name in enumerate(names):
        image, label = make_case(index, SHAPE)
        if split_files:
            files = [save(image[..., c], data / f"{index}_{c}.nii.gz", LPS) for c in range(len(MODALITIES))]
        else:
            files = [save(image, data / f"{index}.nii.gz", LPS)]
        truth = save(label, data / f"{index}_truth.nii.gz", LPS)
        prediction = save(np.roll(label, index, 0), run_dir / "test" / "labels" / f"{index}_seg.nii.gz", LPS)
        score = 0.91234 - 0.2 * index
        rows.append(
            {
                "case": name,
                "image": [str(file) for file in files],
                "truth": str(truth),
                "prediction": str(prediction),
                "dice": {"TC": score, "WT": score + 0.05, "ET": score - 0.05},
                "hd95_mm": {"TC": 2.345 + index, "WT": 3.0, "ET": 374.0},
                "truth_ml": {"TC": 10.0, "WT": 20.0, "ET": 5.0},
                "prediction_ml": {"TC": 11.0, "WT": 21.0, "ET": 0.0},
                **{measure: {"TC": score / 2, "WT": score, "ET": score - 0.1} for measure in SHARES},
                "volume_error_ml": {"TC": 1.0, "WT": 1.0, "ET": -5.0},
                "volume_error_relative": {"TC": 0.1, "WT": 0.05, "ET": -2.0},
                "lesion_hd95_mm": {"TC": 2.5, "WT": 3.0, "ET": 374.0},
                "lesions": {"TC": 1, "WT": 2, "ET": 0},
                "lesions_missed": {"TC": 0, "WT": 1, "ET": 0},
                "lesions_false": {"TC": 1, "WT": 0, "ET": 0},
            }
        )
    (run_dir / "test" / "cases.json").write_text(json.dumps(rows), encoding="utf-8")
    (run_dir / "test" / "summary.json").write_text('{"label_scheme": "msd"}', encoding="utf-8")
    return rows


def write_notes(folder: Path, dataset_dir: str, command: str = "python -m monai.bundle run", time: str = "10") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "_desc_": {"epochs": "passes over the training cases", "learning_rate": "peak", "run_dir": "folder"},
        "dataset_dir": dataset_dir,
        "epochs": 4,
        "learning_rate": 0.01,
        "run_dir": "$@output_dir + '/x'",
        "network_def": {"_target_": "UNet"},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    datalist = {"dataset_dir": dataset_dir, "label_scheme": "msd", "modalities": MODALITIES, "training": [{}, {}]}
    (folder / "datalist.json").write_text(json.dumps(datalist), encoding="utf-8")
    (folder / "versions.json").write_text('{"python": "3.11.7", "monai": "1.6.1"}', encoding="utf-8")
    (folder / "command.txt").write_text(command + "\n", encoding="utf-8")
    (folder / "log.txt").write_text(f"2026-03-04 {time}:11:12,345 INFO x: begun\n", encoding="utf-8")


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "my_run"
    write_notes(run_dir, "/data/Task01", "python -m monai.bundle run --config_file configs/train.json")
    write_notes(run_dir / "test", "/data/Task01", "python evaluate", time="11")
    write_metrics(run_dir)
    write_tests(run_dir, ["good", "middling", "bad"])
    write_report(run_dir)
    return run_dir


def test_opens_offline_as_one_file(full_run: Path) -> None:
    html = (full_run / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert len(page.images) == 4
    for image in page.images:
        head, data = str(image["src"]).split(",", 1)
        assert head == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
        assert image["alt"]
    assert all(address.startswith("data:") for address in page.addresses)
    assert not {"script", "link", "object"} & set(page.tags)
    assert "url(" not in html and "@import" not in html
    assert len(html) < 5_000_000


def test_the_only_script_is_the_viewers(full_run: Path) -> None:
    """Named by its hash in the page's policy, which the frames inherit; a report without cases allows none."""
    html = (full_run / "report.html").read_text(encoding="utf-8")
    assert Page(html).tags.count("iframe") == 3
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    assert f"; script-src {source_hash(script())}" in policy and policy.count("script-src") == 1
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_a_report_without_cases_allows_no_script(tmp_path: Path) -> None:
    write_metrics(tmp_path)
    assert "script-src" not in write_report(tmp_path).read_text(encoding="utf-8")


def test_pictures_are_saved_beside(full_run: Path) -> None:
    for name in ("curves.png", "test/best_case.png", "test/median_case.png", "test/worst_case.png"):
        assert (full_run / name).read_bytes().startswith(b"\x89PNG"), name
    leftovers = [file.name for file in full_run.rglob(".part-*")]
    assert leftovers == []


def test_test_table_is_that_of_the_json(full_run: Path) -> None:
    rows = json.loads((full_run / "test" / "cases.json").read_text(encoding="utf-8"))
    page = page_of(full_run / "report.html")
    for region, name in (("TC", "tumour core"), ("WT", "whole tumour"), ("ET", "enhancing tumour")):
        expected = []
        for measure, digits in (("dice", 4), ("hd95_mm", 2)):
            values = [row[measure][region] for row in rows]
            low, high = interval(values)
            bounds = f"{low:.{digits}f} to {high:.{digits}f}"
            expected += [f"{np.mean(values):.{digits}f}", bounds, f"{np.median(values):.{digits}f}"]
        assert page.rows[f"{region} ({name})"] == expected
    assert page.rows["mean of regions"][0] == f"{np.mean([list(row['dice'].values()) for row in rows]):.4f}"


@pytest.mark.parametrize(
    "name, spoil, sentence",
    [
        ("test/cases.json", lambda rows: {"a": 1}, "is no table of cases"),
        ("test/cases.json", lambda rows: [rows[0] | {"dice": {"TC": None}}], "dice of case .* is null in TC"),
        ("test/cases.json", lambda rows: [rows[0] | {"dice": {}}], "is not of the regions .*none.*; evaluate anew"),
        ("test/cases.json", lambda rows: [without(rows[0], "hd95_mm")], "hd95_mm of case .* is not of the regions"),
        ("datalist.json", lambda _: [], "the datalist is no JSON object; mend or remove the file"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_one_sentence(
    tmp_path: Path, name: str, spoil: Any, sentence: str
) -> None:
    (tmp_path / "test").mkdir()
    rows = write_tests(tmp_path, ["good"])
    (tmp_path / name).write_text(json.dumps(spoil(rows)), encoding="utf-8")
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path / name))}: .*{sentence}"):
        write_report(tmp_path)


def without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def test_case_table_lists_every_case_worst_first(full_run: Path) -> None:
    page = page_of(full_run / "report.html")
    assert page.rows["good"] == [
        "0.912", "0.912", "0.962", "0.862", "2.3", "3.0", "374.0", "10.0 / 11.0", "20.0 / 21.0", "5.0 / 0.0",
    ]  # fmt: skip
    assert [name for name in page.rows if name in ("good", "middling", "bad")] == ["bad", "middling", "good"]
    pictures = [
        "Worst case: bad, mean Dice 0.512",
        "Median case: middling, mean Dice 0.712",
        "Best case: good, mean Dice 0.9",
    ]
    places = [page.text.index(picture) for picture in pictures]
    assert places == sorted(places)


def test_all_measures_are_told_with_their_intervals(full_run: Path) -> None:
    rows = json.loads((full_run / "test" / "cases.json").read_text(encoding="utf-8"))
    page = page_of(full_run / "report.html")
    values = [row["surface_dice"]["TC"] for row in rows]
    low, high = interval(values)
    assert page.rows["surface Dice at 1 mm"][0] == f"{np.mean(values):.4f} ({low:.4f} to {high:.4f})"
    assert page.rows["volume error (ml)"][2] == "-5.00 (-5.00 to -5.00)"
    assert page.rows["lesions: in the truth / missed / false"] == ["3 / 0 / 3", "6 / 3 / 0", "0 / 0 / 0", ""]


def test_tables_of_an_older_version_are_shown_as_they_are(tmp_path: Path) -> None:
    rows = write_tests(tmp_path, ["a", "b"])
    kept = ("case", "image", "truth", "prediction", "dice", "hd95_mm", "truth_ml", "prediction_ml")
    (tmp_path / "test" / "cases.json").write_text(json.dumps([{key: row[key] for key in kept} for row in rows]))
    page = page_of(write_report(tmp_path))
    assert "TC (tumour core)" in page.rows and "surface Dice at 1 mm" not in page.rows


def test_tells_how_the_run_was_made(full_run: Path) -> None:
    page = page_of(full_run / "report.html")
    assert "Run my_run" in page.text
    assert "Started 2026-03-04 10:11; trained 4 of 4 epochs in 2 min 04 s; tested on 3 cases." in page.text
    assert "Not for clinical use." in page.text
    assert report.PHANTOM not in page.text
    assert report.STALE not in page.text
    assert "python -m monai.bundle run --config_file configs/train.json" in page.text
    assert "Training on /data/Task01: 2 training cases, label scheme msd." in page.text
    assert page.rows["epochs"] == ["4", "passes over the training cases"]
    assert page.rows["monai"] == ["1.6.1"]
    assert "run_dir" not in page.rows, "an expression is no knob"
    assert "network_def" not in page.rows


def test_validation_table_has_the_best_and_the_last(full_run: Path) -> None:
    page = page_of(full_run / "report.html")
    assert page.rows["best"] == ["2", "0.6800", "0.5800", "0.7800", "0.6800", "0.5000"]
    assert page.rows["last"] == ["4", "0.6600", "0.5600", "0.7600", "0.6600", "0.2500"]


def test_training_alone_on_the_phantom(tmp_path: Path) -> None:
    write_notes(tmp_path, "/cache/phantom-v1")
    write_metrics(tmp_path, epochs=1)
    page = page_of(write_report(tmp_path))
    assert "Synthetic phantom data: the figures mean nothing clinically." in page.text
    assert "trained 1 of 4 epochs in 0 min 31 s, not finished" in page.text
    assert len(page.images) == 1
    assert "Test results" not in page.text and "Every test case" not in page.text
    assert "best" not in page.rows, "epoch 1 was not validated"


def test_evaluation_alone_with_a_file_a_modality(tmp_path: Path) -> None:
    write_tests(tmp_path, ["a", "b"], split_files=True)
    page = page_of(write_report(tmp_path))
    assert len(page.images) == 2
    assert "Training" not in page.text
    assert not (tmp_path / "curves.png").exists()


def test_one_test_case_is_shown_once(tmp_path: Path) -> None:
    write_tests(tmp_path, ["single"])
    page = page_of(write_report(tmp_path))
    assert len(page.images) == 1
    assert "Only case: single" in page.text
    assert not (tmp_path / "test" / "worst_case.png").exists()


def test_names_and_commands_are_text(tmp_path: Path) -> None:
    """Nothing in data becomes markup in the page or a formula in the pictures."""
    run_dir = tmp_path / "a&lt;b $x_$"
    hostile = ["<b>x", "$\\frac{$ \"'"]
    write_notes(run_dir, "<i>data", command="python <script>alert(1)</script> && x")
    write_metrics(run_dir)
    write_tests(run_dir, hostile)
    page = page_of(write_report(run_dir))
    assert set(hostile) <= set(page.rows)
    assert "Run a&lt;b $x_$" in page.text
    assert "python <script>alert(1)</script> && x" in page.text
    assert not {"b", "i", "script"} & set(page.tags)


@pytest.mark.parametrize("harm", ["moved", "truncated", "another grid"])
def test_a_case_that_cannot_be_shown_is_said_so(tmp_path: Path, harm: str) -> None:
    rows = write_tests(tmp_path, ["good", "bad"])
    image, prediction = Path(rows[0]["image"][0]), Path(rows[0]["prediction"])
    if harm == "moved":
        image.unlink()
    elif harm == "truncated":
        image.write_bytes(image.read_bytes()[:2000])
    else:
        save(np.zeros((5, 6, 7), np.uint8), prediction, LPS)
    page = page_of(write_report(tmp_path))
    assert len(page.images) == 1
    assert "Best case: good, mean Dice 0.912" in page.text
    assert f"It cannot be shown: {prediction if harm == 'another grid' else image}: " in page.text
    assert page.rows["good"][0] == "0.912"


def test_a_case_that_only_the_viewer_refuses_keeps_its_picture(tmp_path: Path) -> None:
    rows = write_tests(tmp_path, ["good", "bad"])
    prediction = Path(rows[0]["prediction"])
    away = LPS.copy()
    away[0, 3] += 5
    save(np.asarray(nib.load(prediction).dataobj), prediction, away)
    page = page_of(write_report(tmp_path))
    assert len(page.images) == 2 and page.tags.count("iframe") == 1
    assert f"Its slices cannot be looked through: {prediction}: its affine differs" in page.text


def test_older_test_results_are_pointed_out(tmp_path: Path) -> None:
    write_notes(tmp_path, "/data/Task01", time="12")
    write_notes(tmp_path / "test", "/data/Task01", time="11")
    write_metrics(tmp_path)
    write_tests(tmp_path, ["a"])
    assert report.STALE in page_of(write_report(tmp_path)).text


def test_half_written_lines_are_passed_over(tmp_path: Path) -> None:
    records = write_metrics(tmp_path)
    file = tmp_path / "metrics.jsonl"
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole + '{"epoch": 5, "train_lo', encoding="utf-8")
    assert read_metrics(file) == records
    # A resumed run appends to the broken line and goes on.
    file.write_text(whole + '{"epoch": 5, "tr{"epoch": 5}\n{"epoch": 6, "train_loss": 0.1}\n', encoding="utf-8")
    assert [record["epoch"] for record in read_metrics(file)] == [1, 2, 3, 4, 6]


def test_epochs_done_again_replace_the_first_ones(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = [{"epoch": e, "train_loss": loss} for e, loss in ((1, 0.9), (2, 0.8), (3, 0.7), (2, 0.5), (3, 0.4))]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert [(record["epoch"], record["train_loss"]) for record in read_metrics(file)] == [(1, 0.9), (2, 0.5), (3, 0.4)]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, empty = tmp_path / "run", tmp_path / "empty"
    run_dir.mkdir()
    empty.mkdir()
    write_metrics(run_dir)
    assert report.main(["--run_dir", str(run_dir)]) == 0
    assert capsys.readouterr().out.strip() == str(run_dir.resolve() / "report.html")
    assert report.main(["--run_dir", str(empty)]) == 1
    message = capsys.readouterr().err
    assert str(empty) in message and message.count("\n") == 1
    assert list(empty.iterdir()) == []


def blob(direction: tuple[int, int, int], codes: str) -> nib.Nifti1Image:
    """A label of 1 off the centre towards ``direction`` (right, front, head), stored in the orientation ``codes``."""
    volume = np.zeros((30, 24, 18), np.uint8)
    centre = [size // 2 + size // 3 * step for size, step in zip(volume.shape, direction, strict=True)]
    volume[tuple(slice(c - 2, c + 2) for c in centre)] = 1
    image = nib.Nifti1Image(volume, np.diag([1.0, 1.5, 2.0, 1.0]))
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    return image.as_reoriented(turn)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
@pytest.mark.parametrize(
    "letter, direction",
    [
        ("R", (1, 0, 0)),
        ("L", (-1, 0, 0)),
        ("A", (0, 1, 0)),
        ("P", (0, -1, 0)),
        ("S", (0, 0, 1)),
        ("I", (0, 0, -1)),
    ],
)
def test_a_lesion_is_drawn_at_the_edge_that_its_letter_marks(
    tmp_path: Path, codes: str, letter: str, direction: tuple[int, int, int]
) -> None:
    file = tmp_path / "label.nii.gz"
    nib.save(blob(direction, codes), file)
    assert "".join(nib.aff2axcodes(nib.load(file).affine)) == codes
    volume, spacing_mm = read_ras(file)
    assert spacing_mm == (1.0, 1.5, 2.0)
    for plane, edges in EDGES.items():
        picture = plane_slice(volume, plane, tumour_slices(volume, get_scheme("binary"))[plane])
        rows, columns = (np.flatnonzero(picture.any(axis=axis)).mean() / picture.shape[1 - axis] for axis in (1, 0))
        place = {"left": columns < 0.3, "right": columns > 0.7, "top": rows < 0.3, "bottom": rows > 0.7}
        expected = {side: mark == letter for side, mark in zip(place, edges, strict=True)}
        assert place == expected, plane


def test_display_is_radiological() -> None:
    """The caption says so: the patient's right is on the left of the picture, the face at the top or left."""
    assert {plane: edges[0] for plane, edges in EDGES.items()} == {"axial": "R", "coronal": "R", "sagittal": "A"}


def test_slices_go_through_the_largest_area() -> None:
    label = np.zeros((10, 12, 14), np.uint8)
    label[2:8, 3:9, 4:10] = 1
    label[1:9, 2:10, 6] = 1
    label[3, 2:10, 3:11] = 1
    assert tumour_slices(label, get_scheme("binary")) == {"axial": 6, "coronal": 3, "sagittal": 3}
    assert tumour_slices(np.zeros_like(label), get_scheme("binary")) == {"axial": 7, "coronal": 6, "sagittal": 5}


def test_a_resection_cavity_does_not_choose_the_slice() -> None:
    label = np.zeros((10, 10, 10), np.uint8)
    label[:, :, 8] = 4
    label[5, 5, 2] = 1
    assert tumour_slices(label, get_scheme("brats2024"))["axial"] == 2


def test_a_tissue_has_one_colour_in_every_scheme() -> None:
    enhancing = {
        tissue_colours(SCHEMES[name])[value] for name, value in (("msd", 3), ("brats2018", 4), ("brats2023", 3))
    }
    edema = {tissue_colours(SCHEMES[name])[value] for name, value in (("msd", 1), ("brats2018", 2), ("brats2023", 2))}
    assert len(enhancing) == len(edema) == 1
    for scheme in SCHEMES.values():
        colours = tissue_colours(scheme)
        assert set(colours) == set(scheme.labels)
        assert len(set(colours.values())) == len(colours)


def test_channels_are_chosen_by_name(tmp_path: Path) -> None:
    image, label = make_case(0, SHAPE)
    file, labels = save(image, tmp_path / "i.nii.gz", LPS), save(label, tmp_path / "l.nii.gz", LPS)
    case = load_case([file], None, labels, MODALITIES)
    assert list(case.images) == ["T1gd", "FLAIR"]
    for name, channel in (("T1gd", 2), ("FLAIR", 0)):
        assert np.array_equal(case.images[name], image[::-1, ::-1, :, channel])
    assert np.array_equal(case.prediction, label[::-1, ::-1])


def test_a_single_modality_without_truth_is_drawn(tmp_path: Path) -> None:
    image, label = make_case(0, SHAPE)
    file = save(image[..., 0], tmp_path / "ct.nii.gz", LPS)
    prediction = save((label > 0).astype(np.uint8), tmp_path / "p.nii.gz", LPS)
    plot_case([file], None, prediction, "binary", "title", tmp_path / "case.png", modalities=["CT"])
    assert (tmp_path / "case.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_case_is_drawn(tmp_path: Path) -> None:
    """No brain and no tumour anywhere: nothing to crop to, to scale to or to outline."""
    empty = np.zeros((*SHAPE, 4), np.int16)
    file, label = save(empty, tmp_path / "i.nii.gz", LPS), save(empty[..., 0], tmp_path / "l.nii.gz", LPS)
    plot_case([file], label, label, "msd", "title", tmp_path / "case.png")
    assert (tmp_path / "case.png").stat().st_size > 0


def test_too_few_channels_are_refused(tmp_path: Path) -> None:
    image, label = make_case(0, SHAPE)
    file, labels = save(image[..., :2], tmp_path / "i.nii.gz", LPS), save(label, tmp_path / "l.nii.gz", LPS)
    with pytest.raises(InputError, match="i.nii.gz.*channel 2 was wanted"):
        load_case([file], None, labels, MODALITIES)
