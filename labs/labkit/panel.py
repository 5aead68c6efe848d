"""The panel: sliders that Python answers, for what a transform does to a slice. The viewer needs no Python; this does.

A change costs one slice through MONAI's transforms and one JPEG, some milliseconds. Where no kernel is alive the
widgets would vanish, so the panel carries its picture as PNG.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from numpy.typing import NDArray
from scripts.errors import InputError
from scripts.figures import WINDOW_PERCENT
from scripts.labels import REGION_NAMES, Scheme
from scripts.slices import EDGES, PLANES, plane_slice, tumour_slices
from scripts.viewer.data import LAYER_COLOURS

from . import paint
from .effects import Effects, change_intensity, move
from .panel_controls import effect_controls, view_controls

BRAIN = np.uint8(128)
PICTURE_HEIGHT = 380
ALT = "One slice before and after the transforms that the panel's sliders set, with the tumour's regions"


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
        self._regions = {name: scheme.regions[name] for name in LAYER_COLOURS if name in scheme.regions}
        self._best_slices = tumour_slices(self._label, scheme)
        # Left alone, the image would be stretched to the width of the page.
        self._image = widgets.Image(format="jpeg", layout=widgets.Layout(align_self="flex-start", max_width="100%"))
        self._readout = widgets.HTML()
        self._kept: tuple[Any, _Slice, NDArray[np.uint8]] | None = None
        self._paused = False
        slices = {plane: self._label.shape[axis] for plane, axis in PLANES.items()}
        # T1gd first: there the ring lights up.
        first = "T1gd" if "T1gd" in self._volumes else modalities[0]
        self.controls = view_controls(modalities, first, list(self._regions), slices, self._best_slices)
        self.controls |= effect_controls(effects or Effects())
        for name, control in self.controls.items():
            control.observe(self._set_plane if name == "plane" else self._redraw, names="value")
        columns = widgets.HBox(self._columns(), layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([columns, self._readout, self._image])
        self._redraw()

    def picture(self) -> NDArray[np.uint8]:
        """Before and after as the controls stand, (height, width, 3)."""
        return self._pictured()[2]

    def effects(self) -> Effects:
        """The setting of the transforms."""
        return Effects(**{name: self.controls[name].value for name in vars(Effects())})

    def reset(self) -> None:
        """Put all transforms back to what changes nothing."""
        with self._one_redraw():
            for name, value in vars(Effects()).items():
                self.controls[name].value = value

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
        with self._one_redraw():
            control.max = self._label.shape[PLANES[change["new"]]] - 1
            control.value = self._best_slices[change["new"]]

    @contextmanager
    def _one_redraw(self) -> Iterator[None]:
        """Set several controls, and draw once."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False
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

    def _colours(self) -> dict[str, str]:
        """Of the regions that are shown, from the outermost in."""
        return {name: LAYER_COLOURS[name] for name in self._regions if name in self.controls["region"].value}

    def _painted(self, one: _Slice) -> NDArray[np.uint8]:
        """A slice enlarged, with its regions, (height, width, 3)."""
        grey = paint.windowed(one.image, self._windows[self.controls["modality"].value])
        grey = paint.enlarged(grey, PICTURE_HEIGHT, one.steps_mm, smooth=True)
        bits = paint.enlarged(one.bits & ~BRAIN, PICTURE_HEIGHT, one.steps_mm, smooth=False)
        return paint.with_regions(grey, bits, list(self._colours().values()))

    def _pictured(self) -> tuple[_Slice, _Slice, NDArray[np.uint8]]:
        """The slice before, the slice after, and both as one picture."""
        chosen = tuple(self.controls[name].value for name in ("modality", "region", "plane", "slice"))
        # What lies before the transforms stays while their sliders move.
        if self._kept is None or self._kept[0] != chosen:
            before = self._before()
            self._kept = (chosen, before, self._painted(before))
        _, before, painted = self._kept
        after, modality = self._after(before), self.controls["modality"].value
        legend = {f"{name} {REGION_NAMES[name]}": colour for name, colour in self._colours().items()}
        pictures = {f"{modality} before": painted, f"{modality} after": self._painted(after)}
        return before, after, paint.side_by_side(pictures, EDGES[self.controls["plane"].value], legend)

    def _redraw(self, _change: Mapping[str, Any] | None = None) -> None:
        if self._paused:
            return
        before, after, picture = self._pictured()
        texts = []
        for title, one in (("before", before), ("after", after)):
            brain = one.image[one.bits >= BRAIN]
            figures = (
                f"mean {brain.mean():+.2f}, standard deviation {brain.std():.2f}" if brain.size else "no brain here"
            )
            texts.append(f"{title}: {figures}")
        self._readout.value = "Brain of this slice, " + "; ".join(texts)
        self._image.value = paint.encode(picture, "jpeg")

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**kwargs)
        picture = base64.b64encode(paint.encode(self.picture(), "png")).decode("ascii")
        return bundle | {"image/png": picture, "text/plain": ALT}, {"image/png": {"alt": ALT}}


def _window(volume: NDArray[np.float32]) -> tuple[float, float]:
    """Display range of a volume, of its brain."""
    brain = volume[volume != 0]
    low, high = np.percentile(brain, WINDOW_PERCENT) if brain.size else (0, 1)
    return float(low), float(high)
