"""The viewer's Python side: where voxels land, what is counted, what is packed, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from scripts import visualize
from scripts.errors import InputError
from scripts.files import write_json
from scripts.labels import SCHEMES, get_scheme, labels_to_regions
from scripts.metrics import region_dice
from scripts.slices import EDGES, PLANES, plane_slice
from scripts.viewer import payload as payloads
from scripts.viewer import show_case
from scripts.viewer.case import load_viewed_case
from scripts.viewer.data import INSIDE_BIT, LARGEST_ID, PREDICTION_SHIFT, STEPS, layers, pack
from scripts.viewer.payload import encode, mosaic, payload, tiling
from tiny import AFFINE, SHAPE, make_case, save, write_brats_folders, write_decathlon

NAMES = ("FLAIR", "T1w", "T1gd", "T2w")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Decathlon folder and a prediction that is its first label, moved."""
    folder = write_decathlon(tmp_path_factory.mktemp("viewer") / "DIR", cases=3)
    _, label = make_case(0)
    prediction = save(np.roll(label, 2, 0), folder.parent / "prediction.nii.gz")
    return {"folder": folder, "image": folder / "imagesTr" / "BRATS_001.nii.gz", "prediction": prediction}


def data_of(html: str) -> dict[str, Any]:
    """What a page carries for its script."""
    return json.loads(re.search(r'<script type="application/json" id="case">(.*?)</script>', html, re.DOTALL)[1])


def codes_of(data: dict[str, Any]) -> np.ndarray:
    """The label bytes of a page, (H, W, D)."""
    packed = np.frombuffer(zlib.decompress(base64.b64decode(data["codes"])), np.uint8)
    return packed.reshape(data["size"][::-1]).T


# Where things lie


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
def test_a_marked_voxel_keeps_its_place_in_the_patient(tmp_path: Path, codes: str) -> None:
    """In millimetres, in the file's own indices, and at the letters of each plane; on grids stored in any order."""
    volume, label = np.zeros((20, 30, 24), np.int16), np.zeros((20, 30, 24), np.uint8)
    volume[3:17, 4:26, 5:20] = 100
    marked = (14, 22, 17)
    label[marked] = 1
    affine = np.array([[1.0, 0, 0, -7], [0, 1.5, 0, 4], [0, 0, 2.0, 11], [0, 0, 0, 1]])
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    paths = {}
    for name, array in (("image", volume), ("label", label)):
        paths[name] = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(array, affine).as_reoriented(turn), paths[name])
    case = load_viewed_case({"T1gd": paths["image"]}, paths["label"], label_scheme="binary")
    packed = pack(case)
    place = np.argwhere(packed.codes & LARGEST_ID)
    assert len(place) == 1
    assert (packed.affine @ [*place[0], 1])[:3] == pytest.approx((affine @ [*marked, 1])[:3])
    data = payload(case, packed, {})
    stored = np.rint(np.array(data["toFile"]) @ [*place[0], 1]).astype(int)
    assert nib.load(paths["label"]).dataobj[tuple(stored)] == 1
    # The mark is at the right, the front and the top of the brain.
    for plane, axis in PLANES.items():
        picture = plane_slice(packed.codes & LARGEST_ID, plane, int(place[0][axis]))
        row, column = (share[0] for share in np.nonzero(picture))
        sides = {
            EDGES[plane][0 if column < picture.shape[1] / 2 else 1],
            EDGES[plane][2 if row < picture.shape[0] / 2 else 3],
        }
        assert sides <= {"R", "A", "S"}, plane
    assert data["spacing"] == pytest.approx([1, 1.5, 2])


def test_every_second_voxel_stays_where_it_was(files: dict[str, Path]) -> None:
    case = load_viewed_case(files["image"])
    whole, half = pack(case), pack(case, 2)
    assert np.linalg.norm(half.affine[:3, :3], axis=0) == pytest.approx(2 * np.array(case.spacing_mm))
    centres = [(packed.affine @ [*np.argwhere(packed.codes & LARGEST_ID).mean(0), 1])[:3] for packed in (whole, half)]
    assert np.abs(centres[0] - centres[1]).max() < max(case.spacing_mm)
    assert len(show_case(files["image"], step=2).to_html()) < len(show_case(files["image"]).to_html())


def test_the_first_view_cuts_through_the_tumour(files: dict[str, Path]) -> None:
    packed = pack(load_viewed_case(files["image"]))
    areas = [np.isin(packed.codes & LARGEST_ID, (1, 2, 3)).sum(tuple({0, 1, 2} - {axis})) for axis in range(3)]
    assert [area[index] for area, index in zip(areas, packed.start, strict=True)] == [area.max() for area in areas]


# What is packed


def test_labels_are_packed_bit_by_bit(files: dict[str, Path]) -> None:
    view = show_case(files["image"], prediction=files["prediction"])
    codes = codes_of(data_of(view.to_html()))
    case = view.case
    for name, shift in (("truth", 0), ("prediction", PREDICTION_SHIFT)):
        packed = (codes >> shift) & LARGEST_ID
        assert np.array_equal(np.bincount(packed.ravel())[1:], np.bincount(case.maps[name].ravel())[1:])
    assert np.count_nonzero(codes & INSIDE_BIT) == np.count_nonzero(np.any(list(case.images.values()), axis=0))


def test_images_are_packed_closely(files: dict[str, Path]) -> None:
    """Through 254 steps and JPEG: within a few steps, in the voxel's own place."""
    case = load_viewed_case(files["image"])
    packed = pack(case)
    across, width, height = tiling(packed.codes.shape)
    for name, jpeg in encode(packed).items():
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(jpeg)))).astype(int)
        assert sheet.shape == mosaic(packed.images[name]).shape
        h, w, d = packed.codes.shape
        for k in range(d):
            top, left = k // across * height, k % across * width
            tile = sheet[top : top + w, left : left + h].T
            inside = packed.images[name][:, :, k] > 0
            if inside.any():
                assert np.abs(tile - packed.images[name][:, :, k])[inside].mean() < 8
        low, high = packed.scales[name]
        step = (high - low) / STEPS
        box = case.images[name][case.images[name] > 0]
        restored = low + (packed.images[name][packed.images[name] > 0].astype(float) - 1) * step
        assert restored.mean() == pytest.approx(np.clip(box, low, high).mean(), abs=step)


def test_images_with_their_skull_are_shown_whole() -> None:
    """CT: nothing is 0, and air is far below."""
    volume = np.full((16, 18, 20), -1000, np.int16)
    volume[4:12, 4:12, 4:12] = 40
    packed = pack(load_viewed_case({"CT": volume}))
    assert packed.codes.shape == volume.shape and (packed.codes == INSIDE_BIT).all()


@pytest.mark.parametrize(
    "volume", [np.zeros((9, 8, 7)), np.full((9, 8, 7), 5.0), np.full((9, 8, 7), np.nan), np.full((9, 8, 7), np.inf)]
)
def test_volumes_without_contrast_are_shown(volume: np.ndarray) -> None:
    view = show_case({"T1gd": volume})
    assert data_of(view.to_html())["size"] == [9, 8, 7]
    assert view.to_png().startswith(b"\x89PNG")


def test_pictures_that_pack_badly_lose_quality_before_the_page_grows(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(load_viewed_case(files["image"]))
    best = sum(map(len, encode(packed).values()))
    monkeypatch.setattr(payloads, "IMAGE_BYTES", int(0.75 * best))
    assert sum(map(len, encode(packed).values())) <= 0.75 * best


def test_layers_are_the_regions_of_every_scheme_and_what_is_in_none() -> None:
    for scheme in SCHEMES.values():
        found = layers(scheme)
        assert {value for layer in found for value in layer.ids} == set(scheme.labels)
        assert len({layer.colour for layer in found}) == len(found)
    assert [layer.key for layer in layers(get_scheme("brats2024"))] == ["WT", "TC", "ET", "RC"]
    assert layers(get_scheme("binary"))[0].name == "whole tumour or lesion"


# What is counted


def test_dice_is_that_of_an_evaluation(files: dict[str, Path]) -> None:
    _, label = make_case(0)
    pair = (np.roll(label, 2, 0), label)
    masks = [labels_to_regions(torch.from_numpy(array)[None, None], get_scheme("msd")) for array in pair]
    expected = dict(zip(("TC", "WT", "ET"), region_dice(*masks)[0].tolist(), strict=True))
    assert show_case(files["image"], prediction=files["prediction"]).dice() == expected
    assert 0 < expected["ET"] < 1


def test_volumes_are_millilitres_of_regions(files: dict[str, Path]) -> None:
    _, label = make_case(0)
    voxel_ml = 2 * 2 * 3 / 1000
    volumes = show_case(files["image"], prediction=files["prediction"]).volumes_ml()
    for name in ("truth", "prediction"):
        assert volumes[name] == pytest.approx({
            "TC": np.isin(label, (2, 3)).sum() * voxel_ml,
            "WT": (label > 0).sum() * voxel_ml,
            "ET": (label == 3).sum() * voxel_ml,
        })  # fmt: skip


def test_an_empty_truth_scores_as_the_metric_says() -> None:
    image, label = make_case(0)
    images = dict(zip(NAMES, np.moveaxis(image, -1, 0), strict=True))
    assert show_case(images, label * 0, label, label_scheme="msd").dice() == {"TC": 0, "WT": 0, "ET": 0}
    assert show_case(images, label * 0, label * 0, label_scheme="msd").dice() == {"TC": 1, "WT": 1, "ET": 1}


def test_the_text_names_volumes_and_dice(files: dict[str, Path]) -> None:
    view = show_case(files["image"], prediction=files["prediction"])
    text = repr(view)
    assert "BRATS_001" in text and "24 x 28 x 20 voxels" in text
    for region, dice in view.dice().items():
        line = next(line for line in text.splitlines() if line.strip().startswith(region))
        assert f"{view.volumes_ml()['truth'][region]:.1f} ml" in line and f"Dice {dice:.3f}" in line


# The doors in


def test_every_form_of_a_case_is_the_same_case(files: dict[str, Path], tmp_path: Path) -> None:
    image, label = make_case(0)
    channels = np.moveaxis(image, -1, 0)
    singles = [save(channels[i], tmp_path / f"x_{n}.nii.gz") for i, n in enumerate(("flair", "t1", "t1ce", "t2"))]
    tensor = MetaTensor(torch.from_numpy(channels.copy()), affine=torch.from_numpy(AFFINE))
    prepared = {
        "a 4-D file": (files["image"],),
        "a file a modality": (singles, label),
        "arrays": (dict(zip(NAMES, channels, strict=True)), label, None, "msd", AFFINE),
        "a mapping of files": (dict(zip(NAMES, singles, strict=True)), label),
        "a tensor with its affine": (tensor, MetaTensor(torch.from_numpy(label[None]))),
    }
    first = load_viewed_case(files["image"])
    for form, arguments in prepared.items():
        scheme = {} if len(arguments) > 3 else {"label_scheme": "msd"}
        case = load_viewed_case(*arguments, **scheme)
        assert list(case.images) == list(NAMES), form
        assert np.array_equal(case.truth, first.truth) and np.allclose(case.affine, first.affine), form
        assert all(np.array_equal(case.images[name], first.images[name]) for name in NAMES), form


def test_a_patient_folder_brings_label_names_and_scheme(tmp_path: Path) -> None:
    folder = write_brats_folders(tmp_path, cases=1)
    case = load_viewed_case(next(folder.iterdir()))
    assert (case.scheme.name, list(case.images), case.title) == ("brats2018", list(NAMES), "BraTS2021_00000")
    assert set(np.unique(case.truth)) == {0, 1, 2, 4}


def test_an_image_below_a_foreign_description_is_one_as_any_other(tmp_path: Path) -> None:
    """nnU-Net's dataset.json lists no files."""
    image, _ = make_case(0)
    write_json(tmp_path / "dataset.json", {"channel_names": {"0": "T1gd"}, "labels": {"background": 0}})
    file = save(image[..., 2], tmp_path / "imagesTr" / "case_0000.nii.gz")
    assert load_viewed_case(file, modalities=["T1gd"]).title == "case_0000"


def test_the_home_folder_is_found_for_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    image, label = make_case(0)
    save(image[..., 2], tmp_path / "image.nii.gz")
    save(label, tmp_path / "label.nii.gz")
    case = load_viewed_case({"T1gd": "~/image.nii.gz"}, "~/label.nii.gz", "~/label.nii.gz", label_scheme="msd")
    assert case.truth.sum() == case.prediction.sum() == label.sum() > 0


def test_images_alone_are_shown() -> None:
    image, _ = make_case(0)
    view = show_case({"T1gd": image[..., 2]})
    assert (view.dice(), view.volumes_ml(), data_of(view.to_html())["maps"]) == ({}, {}, [])


# The doors out


def test_a_notebook_gets_page_picture_and_text(files: dict[str, Path]) -> None:
    bundle = show_case(files["image"], height=321)._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    frame = bundle["text/html"]
    assert "<iframe srcdoc=" in frame and 'sandbox="allow-scripts"' in frame and 'height="321"' in frame
    # An untrusted notebook drops the frame and the style sheet that hides the picture.
    assert "<style>iframe + .case-still { display: none; }</style>" in frame
    assert base64.b64encode(bundle["image/png"]).decode() in frame.split("</iframe>")[1]
    assert Image.open(io.BytesIO(bundle["image/png"])).size[0] > 600


def test_a_page_has_no_address_and_a_closed_policy(files: dict[str, Path]) -> None:
    html = show_case(files["image"], title="</script><b>x & y").to_html()
    assert not re.search(r"https?:|src=|href=|@import|url\(", html)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert html.count("<script") == 2 and "<b>" not in html
    assert data_of(html)["title"] == "</script><b>x & y"


@pytest.mark.parametrize("suffix", [".html", ".png", ".gif", ".HTML"])
def test_a_view_is_saved_by_suffix(files: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    target = show_case(files["image"], prediction=files["prediction"]).save(tmp_path / "new" / f"case{suffix}")
    magic = {".html": b"<!DOCTYPE html>", ".png": b"\x89PNG", ".gif": b"GIF89a"}[suffix.lower()]
    assert target.read_bytes().startswith(magic)
    assert [file.name for file in target.parent.iterdir()] == [target.name]


def test_a_gif_has_a_frame_a_slice_at_a_tenth_of_a_second(files: dict[str, Path]) -> None:
    view = show_case(files["image"])
    gif = Image.open(io.BytesIO(view.to_gif()))
    assert gif.n_frames == max(pack(view.case).codes.shape)
    pictures = []
    for frame in (2, gif.n_frames // 2):
        gif.seek(frame)
        assert gif.info["duration"] == 100
        pictures.append(np.asarray(gif.convert("RGB")))
    assert not np.array_equal(*pictures)


def test_the_montage_marks_each_region_in_its_colour(files: dict[str, Path]) -> None:
    picture = np.asarray(Image.open(io.BytesIO(show_case(files["image"]).to_png())))
    for layer in layers(get_scheme("msd")):
        colour = [int(layer.colour[at : at + 2], 16) for at in (1, 3, 5)]
        # More than the legend's square alone.
        assert (picture == colour).all(axis=-1).sum() > 500, layer.key


# What is refused


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"label": np.zeros((3, 4, 5), np.uint8)}, "the label has 3 x 4 x 5 voxels, but the images have 24 x 28 x 20"),
        ({"label": np.full(SHAPE, 9, np.uint8)}, "the label holds the ids 9, which scheme 'msd' does not have"),
        ({"label": np.full(SHAPE, 0.5)}, "whole label ids were wanted"),
        ({"prediction": np.full(SHAPE, 7, np.uint8)}, "the prediction holds the ids 7"),
        ({"label_scheme": "brats1999"}, "label_scheme 'brats1999' is unknown"),
        ({"view": {"zoom": 2}}, "view has an entry 'zoom', which is unknown"),
        ({"view": {"opacity": 2}}, "view's opacity is 2, but a number from 0 to 1 was wanted"),
        ({"view": {"show": "errors"}}, "view's show is 'errors', but one of truth was wanted"),
        ({"view": {"modality": "PET"}}, "but one of FLAIR, T1w, T1gd, T2w was wanted"),
        ({"view": {"windows": {"FLAIR": {"window": 0, "level": 1}}}}, "view's windows is"),
        ({"view": {"windows": {"FLAIR": {"window": np.inf, "level": 1}}}}, "view's windows is"),
        ({"view": {"mm": [0, 0, np.nan]}}, "view's mm is [0, 0, nan], but a list of three numbers was wanted"),
        ({"step": 0}, "step is 0, but every voxel"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, Any], sentence: str) -> None:
    image, label = make_case(0)
    given = {"label": label, "label_scheme": "msd", **change}
    with pytest.raises(InputError, match=re.escape(sentence)):
        show_case(dict(zip(NAMES, np.moveaxis(image, -1, 0), strict=True)), **given).to_html()


def test_images_on_different_grids_are_refused() -> None:
    with pytest.raises(InputError, match=r"modality T2w has shape \(3, 4, 5\)"):
        show_case({"T1w": np.ones((4, 4, 4)), "T2w": np.ones((3, 4, 5))})
    with pytest.raises(InputError, match=r"has shape \(2, 4, 4, 4\), but \(C, H, W, D\) with the 4 channels"):
        show_case(np.ones((2, 4, 4, 4)))
    with pytest.raises(InputError, match="images is empty"):
        show_case({})


def test_images_and_labels_of_another_place_are_refused(tmp_path: Path) -> None:
    """Files and MetaTensors alike: each keeps its own affine, whatever the argument says."""
    image, label = make_case(0)
    away = AFFINE.copy()
    away[1, 3] += 4
    files = {
        "T1w": save(image[..., 1], tmp_path / "t1.nii.gz"),
        "T2w": save(image[..., 3], tmp_path / "t2.nii.gz", away),
    }
    tensors = {
        name: MetaTensor(torch.from_numpy(image[..., index].copy()), affine=torch.from_numpy(affine))
        for name, index, affine in (("T1w", 1, AFFINE), ("T2w", 3, away))
    }
    sentence = "modality T2w: its affine differs from that of T1w by up to 4 mm; resample it to that grid."
    for images in (files, tensors, {"T1w": files["T1w"], "T2w": tensors["T2w"]}):
        with pytest.raises(InputError, match=re.escape(sentence)):
            load_viewed_case(images)
    with pytest.raises(InputError, match=re.escape(sentence)):
        load_viewed_case(files, affine=AFFINE)
    moved = MetaTensor(torch.from_numpy(label[None]), affine=torch.from_numpy(away))
    for what in ("label", "prediction"):
        with pytest.raises(InputError, match=f"{what}: its affine differs from that of the images by up to 4 mm"):
            load_viewed_case({"T1w": files["T1w"]}, **{what: moved}, label_scheme="msd")


def test_a_file_keeps_its_affine_and_an_array_gets_the_argument(tmp_path: Path) -> None:
    image, _ = make_case(0)
    away = AFFINE.copy()
    away[1, 3] += 4
    file = save(image[..., 1], tmp_path / "t1.nii.gz")
    assert load_viewed_case({"T1w": file}, affine=away).file_affine == pytest.approx(AFFINE)
    assert load_viewed_case({"T1w": image[..., 1]}, affine=away).file_affine == pytest.approx(away)


@pytest.mark.parametrize(
    "affine, sentence",
    [
        (np.eye(3), "affine has shape (3, 3), but (4, 4) was wanted"),
        (np.diag([1.0, 1, 0, 1]), "but an invertible one was wanted"),
        (np.diag([1.0, 1, np.nan, 1]), "but an invertible one was wanted"),
    ],
)
def test_an_affine_that_maps_no_volume_is_refused(affine: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        load_viewed_case({"T1w": np.ones((4, 4, 4))}, affine=affine)


@pytest.mark.parametrize(
    "description, sentence",
    [
        ({"modality": {"a": "T1w"}, "training": []}, "modality must name the channels in order"),
        ([], "the list 'training' of a Decathlon description is not there"),
    ],
)
def test_a_wrong_description_is_said_so(tmp_path: Path, description: Any, sentence: str) -> None:
    write_json(tmp_path / "dataset.json", description)
    with pytest.raises(InputError, match=re.escape(sentence)):
        load_viewed_case(tmp_path)


# The command


def test_the_command_writes_the_page_where_it_stands(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert visualize.main([str(files["image"]), "--prediction", str(files["prediction"])]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(tmp_path / "case.html") and "Dice" in out
    assert data_of((tmp_path / "case.html").read_text("utf-8"))["maps"] == ["truth", "prediction"]


def test_the_command_finds_a_case_of_a_data_set(files: dict[str, Path], tmp_path: Path) -> None:
    for number, choice in enumerate((["--sample", "1"], ["--case", "BRATS_002"])):
        target = tmp_path / f"{number}.html"
        assert visualize.main(["--dataset_dir", str(files["folder"]), *choice, "--out", str(target)]) == 0
        assert data_of(target.read_text("utf-8"))["title"] == "BRATS_002"


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["nowhere.nii.gz"], "nowhere.nii.gz: there is no such file or folder"),
        (["{image}", "--prediction", "absent.nii.gz"], "absent.nii.gz: there is no such file"),
        (["{image}", "--label", "{other}"], "the label has 5 x 6 x 7 voxels, but the images have 24 x 28 x 20 voxels"),
        (["{image}", "--prediction", "{moved}"], "its affine differs from that of the images by up to 5 mm"),
        (["{image}", "--prediction", "{foreign}"], "the prediction holds the ids 7, which scheme 'msd' does not have"),
        (["{image}", "--out", "case.jpg"], "'.jpg' is no format for a view"),
        (["{image}", "--modality", "PET", "--out", "x.gif"], "modality 'PET' is not in this case"),
        (["{image}", "--modality", "FLAIR"], "--modality chooses what a GIF shows"),
        (["{folder}"], "holds 3 cases, but one was wanted"),
        (
            ["--dataset_dir", "{folder}", "--sample", "3"],
            "sample 3 is out of range, the folder holds 3 cases; choose 0 to 2",
        ),
        (["--dataset_dir", "{folder}", "--sample", "-1"], "sample -1 is out of range"),
        (["--dataset_dir", "{folder}", "--case", "BRATS_9"], "there is no case 'BRATS_9'; choose among BRATS_001"),
        ([], "a case is wanted"),
        (["{image}", "--dataset_dir", "{folder}"], "give one of the two"),
        (["{image}", "--sample", "1"], "give its folder by --dataset_dir"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_sentence(
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    _, label = make_case(0)
    away = AFFINE.copy()
    away[0, 3] += 5
    known = files | {
        "other": save(np.zeros((5, 6, 7), np.uint8), tmp_path / "other.nii.gz"),
        "moved": save(label, tmp_path / "moved.nii.gz", away),
        "foreign": save(np.where(label == 3, 7, label).astype(np.uint8), tmp_path / "foreign.nii.gz"),
    }
    before = set(tmp_path.iterdir())
    assert visualize.main([argument.format(**known) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.startswith("error: ") and error.count("\n") == 1
    assert set(tmp_path.iterdir()) == before
