"""The panel: sliders that Python answers, for what a transform does to a slice. The viewer needs no Python; this does.

A change costs one slice through MONAI's transforms and one JPEG, some milliseconds. Where no kernel is alive the
widgets would vanish, so the panel carries its picture as PNG.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from numpy.typing import NDArray
from scripts.errors import InputError
from scripts.figures import ORANGE, PURPLE, SKY_BLUE, WINDOW_PERCENT
from scripts.labels import REGION_NAMES, Scheme
from scripts.slices import EDGES, PLANES, plane_slice, tumour_slices

from . import paint
from .effects import Effects, change_intensity, move

# From the outermost in, as they are painted.
REGION_COLOURS = {"WT": SKY_BLUE, "TC": ORANGE, "ET": PURPLE}
BRAIN = np.uint8(128)
PICTURE_HEIGHT = 380
ALT = "One slice before and after the transforms that the panel's sliders set, with the tumour's regions"


def _slider(kind: type[widgets.Widget], name: str, low: float, high: float, step: float, tip: str) -> widgets.Widget:
    return kind(
        value=getattr(Effects(), name),
        min=low,
        max=high,
        step=step,
        description=name,
        tooltip=tip,
        layout=widgets.Layout(width="340px"),
    )


def effect_controls() -> dict[str, widgets.Widget]:
    """A control for every field of :class:`Effects`, by its name, at the setting that changes nothing."""
    slider, whole = widgets.FloatSlider, widgets.IntSlider
    return {
        "degrees": _slider(slider, "degrees", -45, 45, 1, "Rotate in the plane of the slice"),
        "magnification": _slider(slider, "magnification", 0.7, 1.4, 0.05, "Above 1 the brain gets larger"),
        "flip": widgets.Checkbox(value=False, description="flip", tooltip="Mirror the columns"),
        "gain": _slider(slider, "gain", -0.5, 0.5, 0.05, "RandScaleIntensity: times 1 + gain"),
        "shift": _slider(slider, "shift", -1, 1, 0.05, "RandShiftIntensity: in standard deviations of the brain"),
        "gamma": _slider(slider, "gamma", 0.4, 2.5, 0.05, "AdjustContrast: below 1 brightens, above 1 darkens"),
        "noise": _slider(slider, "noise", 0, 1, 0.05, "RandGaussianNoise: its standard deviation"),
        "seed": _slider(whole, "seed", 0, 20, 1, "Of the noise: the same seed draws the same"),
    }


@dataclass(frozen=True)
class _Slice:
    """A slice as it lies on the screen.

    Attributes:
        image: float32, (rows, columns).
        bits: uint8, likewise: bit k for the k-th region that is shown, ``BRAIN`` for the brain.
        steps_mm: distance of rows and of columns.
    """

    image: NDArray[np.float32]
    bits: NDArray[np.uint8]
    steps_mm: tuple[float, float]


class TransformPanel(widgets.VBox):
    """One slice before and after a choice of transforms.

    Args:
        data: a preprocessed case: ``image`` (C, H, W, D) float and ``label`` (1, H, W, D), in RAS order.
        modalities: names of the C channels.
        scheme: what the label ids mean.
        spacing_mm: voxel size along H, W, D; the image's own where it has one.
        effects: the first setting.

    Attributes:
        controls: the widgets by name: modality, region, plane, slice, and a field of :class:`Effects` each.

    Raises:
        InputError: the shapes do not fit each other or the modalities.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        modalities: Sequence[str],
        scheme: Scheme,
        spacing_mm: Sequence[float] | None = None,
        effects: Effects | None = None,
    ) -> None:
        image = torch.as_tensor(data["image"])
        self._label = np.asarray(data["label"], np.uint8)[0]
        if image.ndim != 4 or len(image) != len(modalities) or image.shape[1:] != self._label.shape:
            raise InputError(
                f"image has shape {tuple(image.shape)} and label {self._label.shape}, but ({len(modalities)}, H, W, D) "
                "and (H, W, D) are wanted; give a case as the deterministic transforms leave it."
            )
        self._volumes = dict(zip(modalities, np.asarray(image, np.float32), strict=True))
        self._ranges = {name: (float(volume.min()), float(volume.max())) for name, volume in self._volumes.items()}
        self._windows = {name: _window(volume) for name, volume in self._volumes.items()}
        spacing = spacing_mm if spacing_mm is not None else getattr(data["image"], "pixdim", torch.ones(3)).tolist()
        self._spacing_mm = tuple(float(step) for step in spacing)
        self._regions = {name: scheme.regions[name] for name in REGION_COLOURS if name in scheme.regions}
        self._best_slices = tumour_slices(self._label, scheme)
        self._image = widgets.Image(format="jpeg", layout=widgets.Layout(max_width="100%"))
        self._readout = widgets.HTML()
        self.controls = self._view_controls() | effect_controls()
        for name, value in vars(effects or Effects()).items():
            self.controls[name].value = value
        for name, control in self.controls.items():
            control.observe(self._set_plane if name == "plane" else self._redraw, names="value")
        super().__init__([widgets.HBox(self._columns()), self._readout, self._image])
        self._redraw()

    def picture(self) -> NDArray[np.uint8]:
        """Before and after as the controls stand, (height, width, 3)."""
        before = self._before()
        return self._compose(before, self._after(before))

    def effects(self) -> Effects:
        """The setting of the transforms."""
        return Effects(**{name: self.controls[name].value for name in vars(Effects())})

    def reset(self) -> None:
        """Put all transforms back to what changes nothing."""
        for name, value in vars(Effects()).items():
            self.controls[name].value = value

    def _view_controls(self) -> dict[str, widgets.Widget]:
        plane = next(iter(PLANES))
        return {
            "modality": widgets.Dropdown(
                options=list(self._volumes), value=self._first_modality(), description="modality"
            ),
            "region": widgets.SelectMultiple(
                options=[(f"{name} {REGION_NAMES[name]}", name) for name in self._regions],
                value=tuple(self._regions),
                rows=len(self._regions),
                description="region",
            ),
            "plane": widgets.Dropdown(options=list(PLANES), value=plane, description="plane"),
            "slice": widgets.IntSlider(
                value=self._best_slices[plane], min=0, max=self._label.shape[PLANES[plane]] - 1, description="slice"
            ),
        }

    def _first_modality(self) -> str:
        # Where the ring lights up.
        return "T1gd" if "T1gd" in self._volumes else next(iter(self._volumes))

    def _columns(self) -> list[widgets.Widget]:
        reset = widgets.Button(description="reset", tooltip="All transforms back to what changes nothing")
        reset.on_click(lambda _: self.reset())
        view = [self.controls[name] for name in ("modality", "region", "plane", "slice")]
        space = [self.controls[name] for name in ("degrees", "magnification", "flip")]
        intensity = [self.controls[name] for name in ("gain", "shift", "gamma", "noise", "seed")]
        return [widgets.VBox(view), widgets.VBox([*space, reset]), widgets.VBox(intensity)]

    def _set_plane(self, change: Mapping[str, Any]) -> None:
        """Another plane has another number of slices; show the one with the largest tumour."""
        control = self.controls["slice"]
        control.unobserve(self._redraw, names="value")
        control.max = self._label.shape[PLANES[change["new"]]] - 1
        control.value = self._best_slices[change["new"]]
        control.observe(self._redraw, names="value")
        self._redraw()

    def _before(self) -> _Slice:
        """The slice that the controls choose."""
        plane, index = self.controls["plane"].value, self.controls["slice"].value
        modality, regions = self.controls["modality"].value, self.controls["region"].value
        image = np.ascontiguousarray(plane_slice(self._volumes[modality], plane, index))
        label = plane_slice(self._label, plane, index)
        columns_mm, rows_mm = (step for axis, step in enumerate(self._spacing_mm) if axis != PLANES[plane])
        chosen = [ids for name, ids in self._regions.items() if name in regions]
        bits = np.zeros(label.shape, np.uint8)
        for bit, ids in enumerate(chosen):
            bits |= np.isin(label, ids).astype(np.uint8) << bit
        bits[image != 0] |= BRAIN
        return _Slice(image, bits, (rows_mm, columns_mm))

    def _after(self, before: _Slice) -> _Slice:
        """The slice after the transforms as the controls stand."""
        effects = self.effects()
        moved, bits = move(before.image, before.bits, effects, before.steps_mm)
        return replace(
            before, image=change_intensity(moved, effects, self._ranges[self.controls["modality"].value]), bits=bits
        )

    def _compose(self, before: _Slice, after: _Slice) -> NDArray[np.uint8]:
        modality, regions = self.controls["modality"].value, self.controls["region"].value
        colours = {name: REGION_COLOURS[name] for name in self._regions if name in regions}
        painted = {}
        for title, one in (("before", before), ("after", after)):
            grey = paint.windowed(one.image, self._windows[modality])
            grey = paint.enlarged(grey, PICTURE_HEIGHT, one.steps_mm, smooth=True)
            bits = paint.enlarged(one.bits & ~BRAIN, PICTURE_HEIGHT, one.steps_mm, smooth=False)
            painted[f"{modality} {title}"] = paint.with_regions(grey, bits, list(colours.values()))
        legend = {f"{name} {REGION_NAMES[name]}": colour for name, colour in colours.items()}
        return paint.side_by_side(painted, EDGES[self.controls["plane"].value], legend)

    def _redraw(self, _change: Mapping[str, Any] | None = None) -> None:
        before = self._before()
        after = self._after(before)
        texts = []
        for title, one in (("before", before), ("after", after)):
            brain = one.image[one.bits >= BRAIN]
            figures = (
                f"mean {brain.mean():+.2f}, standard deviation {brain.std():.2f}" if brain.size else "no brain here"
            )
            texts.append(f"{title}: {figures}")
        self._readout.value = "Brain of this slice, " + "; ".join(texts)
        self._image.value = paint.encode(self._compose(before, after), "jpeg")

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**kwargs)
        picture = base64.b64encode(paint.encode(self.picture(), "png")).decode("ascii")
        return bundle | {"image/png": picture, "text/plain": ALT}, {"image/png": {"alt": ALT}}


def _window(volume: NDArray[np.float32]) -> tuple[float, float]:
    """Display range of a volume, of its brain."""
    brain = volume[volume != 0]
    low, high = np.percentile(brain, WINDOW_PERCENT) if brain.size else (0, 1)
    return float(low), float(high)
