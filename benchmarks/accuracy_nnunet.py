"""nnU-Net v2 from PyPI as a side of benchmarks/accuracy.py: its planner, its trainer and its predictor, unchanged.

The trainer is the stock ``nnUNetTrainer``, not a subclass: its own hooks are called in its own order
(``nnUNetTrainer.run_training``), less validation and the figures drawn after each epoch, which would cost minutes. An
epoch is one iteration of its 250, so that the polynomial schedule, which moves once an epoch, has as fine steps as the
budget allows. The three regions are trained as such (dataset.json's ``regions_class_order``), nnU-Net's best mode for
BraTS, on all cases of the fold's training part (its fold ``all``). On a CPU no process is started while the clock
runs; on a GPU it compiles and augments as it does by default.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import timing  # noqa: F401  puts bundle/ on the path
import torch
from accuracy_clock import TrainingClock
from accuracy_device import CPU, Device
from accuracy_folds import SEED, Fold, read_image
from accuracy_side import CALIBRATION_SHARE, CALIBRATION_STEPS, Calibration
from monai.utils import set_determinism
from scripts.errors import InputError
from scripts.files import write_json
from scripts.labels import REGIONS, get_scheme, labels_to_regions, regions_to_labels
from scripts.predictions import image_files, label_file, save_volume

PACKAGE = "nnunetv2"
DATASET_ID, DATASET = 1, "Dataset001_BrainTumour"
CONFIGURATION, PLANS, TRAINER, FOLD = "3d_fullres", "nnUNetPlans", "nnUNetTrainer", "all"
CHECKPOINT = "checkpoint_final.pth"
ENDING = ".nii.gz"
# nnU-Net wants consecutive ids; Decathlon's are, and are what nnU-Net itself converts BraTS to.
SCHEME = "msd"
# Written in this order, a smaller region over the larger one: the id of what is left of each.
CLASS_ORDER = ("WT", "TC", "ET")
AUGMENTERS = "nnUNet_n_proc_DA"


class NnUnetSide:
    """nnU-Net in one fold.

    Args:
        fold: whom to train on and whom to test.
        work_dir: gets nnU-Net's three folders.
        knobs: must be empty; nnU-Net configures itself.
        device: what it trains and predicts on.

    Raises:
        InputError: a knob was given, or nnU-Net is not installed.
    """

    def __init__(self, fold: Fold, work_dir: Path, knobs: Mapping[str, Any], device: Device = CPU) -> None:
        if knobs:
            raise InputError(f"nnU-Net configures itself, but {', '.join(knobs)} was given; leave overrides out.")
        if importlib.util.find_spec(PACKAGE) is None:
            raise InputError(
                f"{PACKAGE}: is not installed, which the side nnunet needs; pip install -r requirements/bench.txt, or "
                "name another --side."
            )
        self.fold, self.device = fold, device
        self.root = work_dir.resolve() / "nnunet"
        self.trainer: Any = None

    def prepare(self) -> None:
        """Write the training cases as nnU-Net's raw data; then its fingerprint, its plans and its preprocessing."""
        # What an interrupted run left would be taken for done.
        shutil.rmtree(self.root, ignore_errors=True)
        raw = self.root / "raw"
        write_raw(raw / DATASET, self.fold)
        self._set_environment()
        if not self.device.is_gpu:
            # The planner takes the number of augmenting processes for that of threads, of which there is one at least.
            os.environ[AUGMENTERS] = "1"
        with self._told():
            from nnunetv2.experiment_planning.plan_and_preprocess_api import (
                extract_fingerprint_dataset,
                plan_experiment_dataset,
                preprocess_dataset,
            )

            extract_fingerprint_dataset(DATASET_ID, num_processes=1, show_progress_bar=False)
            plan_experiment_dataset(DATASET_ID)
            preprocess_dataset(DATASET_ID, PLANS, (CONFIGURATION,), (1,), show_progress_bar=False)
        self._set_environment()

    def calibrate(self, budget_s: float) -> Calibration:
        """Train a few iterations and forget them."""
        with self._told():
            trainer, costs = self._begun(1), []
            while len(costs) < CALIBRATION_STEPS or sum(costs) < CALIBRATION_SHARE * budget_s:
                started = self.device.now()
                trainer.train_step(next(trainer.dataloader_train))
                costs.append(self.device.now() - started)
            end_loaders(trainer)
        return Calibration(statistics.median(costs[1:]), 1, len(costs))

    def train(self, clock: TrainingClock, epochs: int) -> tuple[int, int]:
        """nnU-Net's loop, an iteration an epoch, its schedule stretched to the cost of iterations as they come."""
        with self._told():
            self.trainer = trainer = self._begun(epochs)
            clock.start()
            is_over = False
            while trainer.current_epoch < trainer.num_epochs and not is_over:
                trainer.on_train_epoch_start()
                trainer.on_train_epoch_end([trainer.train_step(next(trainer.dataloader_train))])
                trainer.current_epoch += 1
                is_over = clock.end_step()
                trainer.num_epochs = clock.epochs_that_fit(trainer.current_epoch)
                trainer.lr_scheduler.max_steps = trainer.num_epochs
            end_loaders(trainer)
        return trainer.current_epoch, trainer.num_epochs

    def save(self) -> None:
        """Save a checkpoint as nnU-Net does."""
        self.trainer.save_checkpoint(str(self.weights))

    @property
    def weights(self) -> Path:
        """nnU-Net's checkpoint."""
        return self._model / f"fold_{FOLD}" / CHECKPOINT

    def recipe(self) -> dict[str, Any]:
        """nnU-Net's version, and what it was asked for; it derives all else from the cases."""
        version = importlib.metadata.version(PACKAGE)
        return {PACKAGE: version, "configuration": CONFIGURATION, "plans": PLANS, "trainer": TRAINER, "seed": SEED}

    def apply(self, cases: Sequence[Mapping[str, Any]], folder: Path, full: bool) -> None:
        """Apply nnU-Net's predictor; windows overlap by half, Gaussian weights.

        Args:
            cases: what to segment.
            folder: of the label volumes.
            full: with mirroring, nnU-Net's default; else without.
        """
        self._set_environment()
        own = folder / "nnunet"
        own.mkdir(parents=True, exist_ok=True)
        with self._told():
            from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

            predictor = nnUNetPredictor(use_mirroring=full, device=torch.device(self.device.name), allow_tqdm=False)
            predictor.initialize_from_trained_model_folder(str(self._model), (FOLD,), CHECKPOINT)
            for item in cases:
                files = write_channels(own / "images", item)
                predictor.predict_from_files_sequential([files], [str(own / item["case"])])
        for item in cases:
            ids = np.asarray(nib.load(own / (item["case"] + ENDING)).dataobj).astype(np.uint8)
            back = convert(ids, SCHEME, self.fold.label_scheme)
            save_volume(back, image_files(item)[0], label_file(folder, item["case"]))
        shutil.rmtree(own)

    def about(self) -> dict[str, Any]:
        """The parts of nnU-Net's plans that say what was trained, and the size of the network."""
        plan = self.trainer.configuration_manager
        weights = self.trainer.network.parameters()
        return {
            "patch_size": list(plan.patch_size),
            "batch_size": int(plan.batch_size),
            "spacing_mm": [float(size) for size in plan.spacing],
            "mirroring_axes": list(self.trainer.inference_allowed_mirroring_axes),
            "million_parameters": sum(p.numel() for p in weights) / 1e6,
        }

    @property
    def _model(self) -> Path:
        return self.root / "results" / DATASET / f"{TRAINER}__{PLANS}__{CONFIGURATION}"

    def _set_environment(self) -> None:
        """What nnU-Net reads when it is imported."""
        names = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "preprocessed", "nnUNet_results": "results"}
        os.environ.update({name: str(self.root / folder) for name, folder in names.items()})
        if not self.device.is_gpu:
            os.environ.update({"nnUNet_compile": "f", AUGMENTERS: "0"})

    def _begun(self, epochs: int) -> Any:
        """A trainer that has made its first weights and its loader, but no step."""
        from nnunetv2.run.run_training import get_trainer_from_args

        set_determinism(seed=SEED)
        if self.device.is_gpu:
            # As nnU-Net's own command does; the seed's deterministic kernels would slow it.
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
        trainer = get_trainer_from_args(
            str(DATASET_ID), CONFIGURATION, FOLD, TRAINER, PLANS, device=torch.device(self.device.name)
        )
        trainer.num_epochs, trainer.num_iterations_per_epoch = epochs, 1
        trainer.on_train_start()
        return trainer

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """nnU-Net prints a page an epoch; it goes to a file of the run."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "log.txt").open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            yield


def end_loaders(trainer: Any) -> None:
    """Stop the processes that augment, as ``nnUNetTrainer.on_train_end`` does; a single-threaded loader has none."""
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        if hasattr(loader, "_finish"):
            loader._finish()


def write_raw(folder: Path, fold: Fold) -> None:
    """The training part as nnU-Net's raw data: a file a channel, consecutive ids, regions instead of classes."""
    for item in fold.training:
        write_channels(folder / "imagesTr", item)
        ids = np.asarray(nib.load(item["label"]).dataobj).round().astype(np.uint8)
        target = folder / "labelsTr" / (item["case"] + ENDING)
        save_volume(convert(ids, fold.label_scheme, SCHEME), image_files(item)[0], target)
    scheme = get_scheme(SCHEME)
    description = {
        "channel_names": {str(channel): name for channel, name in enumerate(fold.modalities)},
        "labels": {"background": 0} | {region: list(scheme.regions[region]) for region in CLASS_ORDER},
        "regions_class_order": [scheme.fill[region] for region in CLASS_ORDER],
        "numTraining": len(fold.training),
        "file_ending": ENDING,
    }
    write_json(folder / "dataset.json", description)


def write_channels(folder: Path, item: Mapping[str, Any]) -> list[str]:
    """A case's image as a file a channel, ``<case>_0000.nii.gz`` and so on, where they are not there yet."""
    image, _ = read_image(item)
    written = [folder / f"{item['case']}_{number:04d}{ENDING}" for number in range(image.shape[-1])]
    for number, target in enumerate(written):
        if not target.is_file():
            save_volume(np.ascontiguousarray(image[..., number]), image_files(item)[0], target)
    return [str(file) for file in written]


def convert(ids: np.ndarray, scheme: str, wanted: str) -> np.ndarray:
    """Label ids (H, W, D) of one scheme in another's, uint8, by way of the regions.

    Raises:
        InputError: an id is not in ``scheme``.
    """
    masks = labels_to_regions(torch.from_numpy(ids)[None], get_scheme(scheme), REGIONS, dtype=torch.uint8)
    return regions_to_labels(masks, get_scheme(wanted), REGIONS)[0].numpy()
