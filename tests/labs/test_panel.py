"""The panel: each control changes the picture in the way that it says, and a picture stays where no kernel is."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from scripts.errors import InputError
from scripts.labels import get_scheme
from scripts.layouts import MODALITIES
from scripts.slices import PLANES
from tiny import SPACING_MM, make_case

from labs.labkit.effects import Effects
from labs.labkit.panel import BRAIN, TransformPanel

MSD = get_scheme("msd")


def prepared() -> dict[str, np.ndarray]:
    """A case as the deterministic transforms leave it."""
    image, label = make_case(0)
    channels = np.moveaxis(image, -1, 0).astype(np.float32)
    brain = channels != 0
    for channel, inside in zip(channels, brain, strict=True):
        channel[inside] = (channel[inside] - channel[inside].mean()) / channel[inside].std()
    return {"image": channels, "label": label[None]}


@pytest.fixture
def panel() -> TransformPanel:
    return TransformPanel(prepared(), MODALITIES, MSD, SPACING_MM)


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def halves(panel: TransformPanel) -> tuple[np.ndarray, np.ndarray]:
    """The pictures before and after, without regions."""
    panel.controls["region"].value = ()
    whole = panel.picture()[30:-30].astype(int)
    width = (whole.shape[1] - 8) // 2
    return whole[:, :width], whole[:, width + 8 :]


CHANGES = {
    "modality": "FLAIR",
    "region": ("WT",),
    "plane": "coronal",
    "slice": 3,
    "degrees": 20.0,
    "magnification": 1.3,
    "flip": True,
    "gain": 0.4,
    "shift": 0.8,
    "gamma": 2.0,
    "noise": 0.6,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_control_redraws_by_itself(panel: TransformPanel, name: str) -> None:
    shown = panel._image.value
    panel.controls[name].value = CHANGES[name]
    assert panel._image.value != shown
    # What is sent is the picture of the setting, but for JPEG's loss.
    assert np.abs(decoded(panel._image.value) - panel.picture()).mean() < 4


def test_every_control_is_named() -> None:
    panel = TransformPanel(prepared(), MODALITIES, MSD, SPACING_MM)
    assert set(panel.controls) == {*CHANGES, "seed"}
    assert all(control.description == name for name, control in panel.controls.items())


def test_before_stays_and_after_changes(panel: TransformPanel) -> None:
    before, after = halves(panel)
    assert np.abs(before - after).mean() < 4
    panel.controls["shift"].value = 1.0
    still, brighter = halves(panel)
    assert np.array_equal(still, before) and brighter.mean() > after.mean() + 10
    panel.controls["shift"].value = -1.0
    assert halves(panel)[1].mean() < after.mean() - 10


def test_gamma_below_one_brightens(panel: TransformPanel) -> None:
    middle = halves(panel)[1].mean()
    panel.controls["gamma"].value = 0.5
    brighter = halves(panel)[1].mean()
    panel.controls["gamma"].value = 2.0
    assert halves(panel)[1].mean() < middle < brighter


def test_seed_draws_other_noise_and_the_same_again(panel: TransformPanel) -> None:
    panel.controls["noise"].value = 0.5
    first = panel.picture()
    panel.controls["seed"].value = 7
    assert not np.array_equal(panel.picture(), first)
    panel.controls["seed"].value = 0
    assert np.array_equal(panel.picture(), first)


def test_flip_mirrors_the_picture_after(panel: TransformPanel) -> None:
    before, _ = halves(panel)
    panel.controls["flip"].value = True
    _, after = halves(panel)
    rows = slice(60, -60)  # clear of the orientation letters above and below
    assert np.abs(after[rows, 20:-20] - before[rows, ::-1][:, 20:-20]).mean() < 3


@pytest.mark.parametrize("region", ["WT", "TC", "ET"])
def test_a_region_is_what_the_scheme_says(panel: TransformPanel, region: str) -> None:
    panel.controls["region"].value = (region,)
    chosen = panel._before().bits & ~BRAIN
    label, index = prepared()["label"][0], panel.controls["slice"].value
    assert chosen.astype(bool).sum() == np.isin(label[:, :, index], MSD.regions[region]).sum() > 0


def test_another_plane_shows_its_largest_tumour(panel: TransformPanel) -> None:
    label = prepared()["label"][0] > 0
    for plane, axis in PLANES.items():
        panel.controls["plane"].value = plane
        areas = label.sum(axis=tuple(other for other in range(3) if other != axis))
        assert areas[panel.controls["slice"].value] == areas.max()
        assert panel.controls["slice"].max == label.shape[axis] - 1


def test_voxels_are_shown_in_their_proportions(panel: TransformPanel) -> None:
    panel.controls["plane"].value = "coronal"
    before, _ = halves(panel)
    depth, width = 20 * SPACING_MM[2], 24 * SPACING_MM[0]
    assert before.shape[1] / 380 == pytest.approx(width / depth, rel=0.01)


def test_the_readout_is_of_the_brain(panel: TransformPanel) -> None:
    panel.controls["shift"].value = 0.5
    image = prepared()["image"][MODALITIES.index("T1gd"), :, :, panel.controls["slice"].value]
    assert f"after: mean {image[image != 0].mean() + 0.5:+.2f}" in panel._readout.value


def test_reset_undoes_all_transforms(panel: TransformPanel) -> None:
    shown = panel._image.value
    for name in vars(Effects()):
        panel.controls[name].value = CHANGES.get(name, 7)
    assert panel._image.value != shown
    panel.reset()
    assert panel._image.value == shown and panel.effects() == Effects()


def test_several_changes_at_once_are_drawn_once(panel: TransformPanel) -> None:
    sent = []
    panel._image.observe(lambda change: sent.append(change), names="value")
    for name in ("gamma", "shift", "degrees"):
        panel.controls[name].value = CHANGES[name]
    assert len(sent) == 3
    panel.reset()
    assert len(sent) == 4
    panel.controls["plane"].value = "sagittal"
    assert len(sent) == 5


def test_a_picture_stays_where_no_kernel_is() -> None:
    panel = TransformPanel(prepared(), MODALITIES, MSD, SPACING_MM, effects=Effects(gamma=0.6, degrees=10))
    content, about = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in content
    assert np.array_equal(decoded(base64.b64decode(content["image/png"])), panel.picture())
    assert about["image/png"]["alt"] == content["text/plain"]


def test_a_first_setting_is_what_the_controls_show() -> None:
    chosen = Effects(gamma=0.6, degrees=10, flip=True)
    assert TransformPanel(prepared(), MODALITIES, MSD, SPACING_MM, effects=chosen).effects() == chosen


def test_a_case_without_tumour_is_shown() -> None:
    data = prepared()
    data["label"][:] = 0
    panel = TransformPanel(data, MODALITIES, MSD, SPACING_MM)
    assert panel.controls["slice"].value == data["label"].shape[3] // 2


@pytest.mark.parametrize("key", ["image", "label"])
def test_shapes_that_do_not_fit_are_refused(key: str) -> None:
    data = prepared()
    data[key] = data[key][..., :-1]
    with pytest.raises(InputError, match="give a case as the deterministic transforms leave it"):
        TransformPanel(data, MODALITIES, MSD, SPACING_MM)
