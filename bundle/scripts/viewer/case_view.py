"""A case and its view, in every form that it can be shown in: page, notebook output, montage, animation."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.files import write_aside
from scripts.survey import AUTO
from scripts.viewer import page, picture
from scripts.viewer.case import Images, ViewedCase, load_viewed_case
from scripts.viewer.data import Packed, pack
from scripts.viewer.payload import payload
from scripts.viewer.view import check_view
from scripts.viewer.volumes import Volume

HEIGHT = 660
SUFFIXES = (".html", ".png", ".gif")


def show_case(
    images: Images | Volume,
    label: Volume | str | os.PathLike[str] | None = None,
    prediction: Volume | str | os.PathLike[str] | None = None,
    *,
    label_scheme: str = AUTO,
    affine: NDArray[Any] | None = None,
    modalities: Sequence[str] | None = None,
    title: str = "",
    height: int = HEIGHT,
    view: Mapping[str, Any] | None = None,
    step: int = 1,
) -> CaseView:
    """Make a view of a case.

    Args:
        images: name to volume (H, W, D) or to file; one array or tensor (C, H, W, D); a 4-D file; a file a modality; or
            a folder of one case.
        label: label ids (H, W, D) or (1, H, W, D), or their file; None takes the one that lies with the images.
        prediction: the same of a model, on the grid of the images.
        label_scheme: what the ids mean; ``auto`` reads it from dataset.json, the file names or the values.
        affine: voxel index to RAS millimetres of arrays, (4, 4); None takes a MetaTensor's own, else voxels of 1 mm in
            RAS order. Files have their own.
        modalities: names of the channels; None takes the data set's own.
        title: what stands above; empty takes the case's name.
        height: of the frame in a notebook, in pixels.
        view: the state to begin with, as the viewer's "This view as code" gives it.
        step: keep every step-th voxel; 2 makes the page about six times smaller. Volumes and Dice are of all voxels.

    Raises:
        InputError: a file is absent or damaged, grids differ, label ids are not in the scheme, or ``view`` is wrong.
    """
    case = load_viewed_case(images, label, prediction, label_scheme, affine, modalities, title)
    return CaseView(case, height, check_view(view or {}, case), step)


class CaseView:
    """A case on its way to the eye. Notebooks show it when it is a cell's last line.

    Args:
        case: its volumes.
        height: of the frame in a notebook, in pixels.
        view: the state to begin with.
        step: keep every step-th voxel.
        gif_modality: which one :meth:`to_gif` shows; None takes T1gd, or the first where there is none.

    Raises:
        InputError: there is no such modality.
    """

    def __init__(
        self,
        case: ViewedCase,
        height: int = HEIGHT,
        view: Mapping[str, Any] | None = None,
        step: int = 1,
        gif_modality: str | None = None,
    ) -> None:
        if gif_modality is not None and gif_modality not in case.images:
            raise InputError(f"modality '{gif_modality}' is not in this case; choose among {', '.join(case.images)}.")
        self.case = case
        self._gif_modality = gif_modality
        self.height = height
        self._view = dict(view or {})
        self._step = step

    def volumes_ml(self) -> dict[str, dict[str, float]]:
        """Millilitres of each region, of ``truth`` and ``prediction`` where they are there."""
        return self.case.volumes_ml()

    def dice(self) -> dict[str, float]:
        """Dice of each region; empty where there are not two label maps."""
        return self.case.dice()

    def to_html(self) -> str:
        """The whole page, which needs no other file and no network."""
        return self._html

    def to_png(self) -> bytes:
        """A montage: a row a plane, a column a modality."""
        return self._png

    def to_gif(self) -> bytes:
        """All slices in turn, three planes side by side, 0.1 s each."""
        return picture.animation(self.case, self._packed, self._gif_modality)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the view, in the format that the file's suffix names: .html, .png or .gif.

        Raises:
            InputError: the suffix is another one, or the file cannot be written.
        """
        target = Path(path).expanduser()
        makers: dict[str, Callable[[], bytes]] = dict(
            zip(SUFFIXES, (lambda: self.to_html().encode("utf-8"), self.to_png, self.to_gif), strict=True)
        )
        check_suffix(target)
        content = makers[target.suffix.lower()]()
        with write_aside(target) as aside:
            aside.write_bytes(content)
        return target

    def __repr__(self) -> str:
        """Title, then a line a region: volumes in ml, and Dice where there are two label maps."""
        return self._text

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        """The live view, the montage and the text; IPython chooses itself what it keeps."""
        return {
            "text/html": page.notebook_output(self.to_html(), self.to_png(), self.case.title or "a case", self.height),
            "image/png": self.to_png(),
            "text/plain": repr(self),
        }

    @cached_property
    def _packed(self) -> Packed:
        return pack(self.case)

    @cached_property
    def _html(self) -> str:
        packed = self._packed if self._step == 1 else pack(self.case, self._step)
        return page.page(payload(self.case, packed, self._view))

    @cached_property
    def _png(self) -> bytes:
        return picture.montage(self.case, self._packed)

    @cached_property
    def _text(self) -> str:
        volumes, dice = self.volumes_ml(), self.dice()
        size = " x ".join(map(str, self.case.shape))
        lines = [f"{self.case.title or 'Case'}: {', '.join(self.case.images)}, {size} voxels"]
        for region in next(iter(volumes.values()), {}):
            parts = [f"{name} {values[region]:8.1f} ml" for name, values in volumes.items()]
            parts += [f"Dice {dice[region]:.3f}"] if dice else []
            lines.append(f"  {region:<4}" + "   ".join(parts))
        return "\n".join(lines)


def check_suffix(target: Path) -> None:
    """Refuse a file name whose suffix names no format.

    Raises:
        InputError: it is none of ``SUFFIXES``.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{target}: '{target.suffix}' is no format for a view; choose a name that ends in {', '.join(SUFFIXES)}."
        )
