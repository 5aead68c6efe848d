"""A validation case on its way through a training: a picture each so many epochs, from what validation computed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events

from scripts.errors import InputError
from scripts.figures import draw_case
from scripts.labels import get_scheme, regions_to_labels
from scripts.metrics import region_dice
from scripts.slices import BACKGROUNDS, CaseVolumes
from scripts.step import plain

logger = logging.getLogger(__name__)

FOLDER = "images"


def picture_file(run_dir: Path, epoch: int) -> Path:
    """Where the picture after an epoch lies."""
    return run_dir / FOLDER / f"epoch_{epoch:04d}.png"


class CasePicture:
    """Evaluator handler: draws its first case, input, truth and prediction, into the run folder's ``images/``.

    The tensors are those that validation has in its hands; nothing is computed twice. A picture is due every
    ``interval`` epochs, at the first validation from then on, and after the last epoch.

    Args:
        run_dir: the run's folder.
        interval: epochs between pictures; 0 draws none.
        val_interval: epochs between validations.
        epochs: the last epoch.
        label_scheme: colours the regions by the tissues of this scheme.
        regions: channel order of truth and prediction.
        modalities: channel order of the image; FLAIR and T1gd are shown, or the first two where they are not there.

    Raises:
        InputError: ``interval`` is not a whole number of 0 or more.
    """

    def __init__(
        self,
        run_dir: str,
        interval: int,
        val_interval: int,
        epochs: int,
        label_scheme: str,
        regions: Sequence[str],
        modalities: Sequence[str],
    ) -> None:
        if not isinstance(interval, int) or interval < 0:
            raise InputError(
                f"image_interval {interval} is not a number of epochs; choose 0 (off) or more, such as 10."
            )
        self.folder = Path(run_dir)
        self.interval = interval
        self.val_interval = val_interval
        self.epochs = epochs
        self.scheme = get_scheme(label_scheme)
        self.regions = tuple(regions)
        self.modalities = tuple(modalities)

    def attach(self, engine: Engine) -> None:
        """Register at the end of each case."""
        if self.interval:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the first case of a validation whose epoch is due."""
        if engine.state.iteration == 1 and self.is_due(engine.state.epoch):
            name = engine.state.batch[0].get("case", "first case")
            try:
                self.draw(engine.state.output[0], str(name), engine.state.epoch)
            except Exception as error:
                # A picture is not worth a training.
                logger.warning("no picture of %s after epoch %d: %r", name, engine.state.epoch, error)

    def is_due(self, epoch: int) -> bool:
        """Whether a multiple of the interval lies after the validation before this one, or it is the last."""
        return epoch == self.epochs or (epoch >= self.interval and epoch % self.interval < self.val_interval)

    def draw(self, case: dict[str, torch.Tensor], name: str, epoch: int) -> Path:
        """Draw one case.

        Args:
            case: ``image`` (M, H, W, D) in RAS order; ``label`` and ``pred``, 0/1 regions (R, H, W, D).
            name: the case's.
            epoch: after which it was predicted.

        Returns:
            The PNG.
        """
        truth, prediction = (plain(case[key]).detach().cpu() for key in ("label", "pred"))
        dice = region_dice(prediction[None].float(), truth[None].float())[0].tolist()
        scores = ", ".join(f"{region} {value:.3f}" for region, value in zip(self.regions, dice, strict=True))
        pixdim = getattr(case["image"], "pixdim", torch.ones(3))
        volumes = CaseVolumes(
            images=self.backgrounds(plain(case["image"]).detach().cpu()),
            truth=self.ids(truth),
            prediction=self.ids(prediction),
            spacing_mm=tuple(float(step) for step in pixdim),
        )
        target = picture_file(self.folder, epoch)
        title = f"{name} after epoch {epoch}: Dice {scores}"
        draw_case(volumes, self.scheme, title, target, kinds=("input", "truth", "prediction"), planes=("axial",))
        return target

    def ids(self, masks: torch.Tensor) -> np.ndarray:
        """Label ids (H, W, D) of region masks (R, H, W, D)."""
        return regions_to_labels(masks, self.scheme, self.regions)[0].numpy()

    def backgrounds(self, image: torch.Tensor) -> dict[str, np.ndarray]:
        """The modalities to show, positive in the brain and 0 outside, as stored volumes are.

        Args:
            image: normalised intensities (M, H, W, D), 0 outside of the brain.
        """
        shown = [name for name in BACKGROUNDS if name in self.modalities] or list(self.modalities[:2])
        volumes = {}
        for name in shown:
            volume = image[self.modalities.index(name)].float().numpy()
            brain = volume != 0
            lowest = volume[brain].min() if brain.any() else 0.0
            volumes[name] = np.where(brain, volume - lowest + np.finfo(np.float32).eps, 0.0)
        return volumes
