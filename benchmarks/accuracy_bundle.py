"""The bundle as a side of benchmarks/accuracy.py: any of its recipes, trained and applied by its own configs.

Training is configs/train.json with override files and knobs on top, less what watches a training (validation, logs,
checkpoints, trackers); prediction is configs/inference.json on the model that the training leaves.
"""

from __future__ import annotations

import copy
import difflib
import functools
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timing
import torch
from accuracy_clock import TrainingClock
from accuracy_device import CPU, Device
from accuracy_folds import Fold
from accuracy_side import CALIBRATION_SHARE, CALIBRATION_STEPS, Calibration
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.utils import set_determinism
from scripts.checkpoints import ABOUT_FILE, MODEL_FILE, sha256, unwrapped
from scripts.ensemble import Members
from scripts.errors import InputError
from scripts.files import write_aside, write_json
from scripts.runs import versions
from torch.optim.lr_scheduler import ConstantLR

BUNDLE = timing.ROOT / "bundle"
TRAIN, INFERENCE = BUNDLE / "configs/train.json", BUNDLE / "configs/inference.json"
# The handlers that take part in a training; all others watch it or save it.
HANDLERS = (
    "scripts.repeatable.Reseed",
    "scripts.ema.UpdateAverage",
    "scripts.progress.StopOnNan",
    "LrScheduleHandler",
)
# Knobs that training and inference share by name but not by value.
OWN_KNOBS = {"bundle_root", "dataset_dir", "output_dir", "ckpt_dir", "label_scheme", "skip_bad_cases"}
MANY_EPOCHS = 10**6
# Where a run lies and what it is trained with, which are no part of its recipe.
PLACES = OWN_KNOBS | {"datalist", "datalist_file", "run_name"}


class BundleSide:
    """One recipe of the bundle in one fold.

    Args:
        fold: whom to train on and whom to test.
        work_dir: folder of the model.
        configs: override files for train.json, in their order.
        knobs: overrides of single ids, of the training or of inference.json, after the files.
        device: what it trains and predicts on.
        epoch_steps: steps after which an epoch is over, instead of one pass over the cases: a schedule that moves once
            an epoch can then end with a budget of few passes.

    Raises:
        InputError: a knob is one of neither.
    """

    def __init__(
        self,
        fold: Fold,
        work_dir: Path,
        configs: Sequence[Path],
        knobs: Mapping[str, Any],
        device: Device = CPU,
        epoch_steps: int | None = None,
    ) -> None:
        self.fold, self.device = fold, device
        self.ckpt_dir = work_dir / "models"
        self.configs = tuple(configs)
        self.knobs = dict(knobs)
        known = read_config([TRAIN, *configs], {}), read_config([INFERENCE], {})
        of_training = {knob: value for knob, value in knobs.items() if knob in known[0]}
        self.inference_knobs = {knob: value for knob, value in knobs.items() if knob in known[1]}
        for knob in knobs.keys() - of_training.keys() - self.inference_knobs.keys():
            near = difflib.get_close_matches(knob, [*known[0].get(), *known[1].get()], n=1)
            raise InputError(f"knob '{knob}' is in no config; {f'did you mean {near[0]}?' if near else 'check it.'}")
        fixed = {
            "bundle_root": str(BUNDLE),
            "datalist": fold.datalist,
            "modalities": list(fold.modalities),
            "device": self._device,
        }
        if not device.is_gpu:
            # The clock would not count them.
            fixed["num_workers"] = 0
        parser = read_config([TRAIN, *configs], of_training | fixed)
        parser["train::handlers"] = [h for h in parser["train::handlers"] if h["_target_"] in HANDLERS]
        if epoch_steps is not None:
            parser["train::trainer::epoch_length"] = epoch_steps
        self.config: dict[str, Any] = {key: value for key, value in parser.get().items() if key != "_meta_"}
        self.dataset: Any = None
        self.trained: ConfigParser | None = None

    def prepare(self) -> None:
        """Read and cache the training cases."""
        self.dataset = self._parser().get_parsed_content("train::dataset")

    def calibrate(self, budget_s: float) -> Calibration:
        """Train a few steps and forget them."""
        trainer, ends = self._trainer(MANY_EPOCHS)[1], [self.device.now()]

        def note(engine: Engine) -> None:
            ends.append(self.device.now())
            if len(ends) > CALIBRATION_STEPS and ends[-1] - ends[0] > CALIBRATION_SHARE * budget_s:
                engine.terminate()

        trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
        trainer.run()
        costs = [end - start for start, end in zip(ends[1:-1], ends[2:], strict=True)]
        return Calibration(statistics.median(costs), trainer.state.epoch_length, len(ends) - 1)

    def train(self, clock: TrainingClock, epochs: int) -> tuple[int, int]:
        """Train from the seed's weights; the schedule is stretched to the cost of the epochs as they come."""
        self.trained, trainer = self._trainer(epochs)
        scheduler = self.trained.get_parsed_content("lr_scheduler")
        done = [0]

        def end_step(engine: Engine) -> None:
            if clock.end_step():
                engine.terminate()

        def end_epoch(engine: Engine) -> None:
            done[0] = engine.state.epoch
            engine.state.max_epochs = clock.epochs_that_fit(done[0])
            stretch(scheduler, engine.state.max_epochs)

        trainer.add_event_handler(Events.EPOCH_STARTED, lambda _: clock.start())
        trainer.add_event_handler(Events.ITERATION_COMPLETED, end_step)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, end_epoch)
        trainer.run()
        return done[0], trainer.state.max_epochs

    def save(self) -> None:
        """Write what :class:`scripts.checkpoints.BestModel` would: weights, and how they came about."""
        network = self.trained.get_parsed_content("scored_network")
        with write_aside(self.weights) as aside:
            torch.save(unwrapped(network).state_dict(), aside)
            digest = sha256(aside)
        about = {
            "sha256": digest,
            "label_scheme": self.fold.label_scheme,
            "versions": versions(),
            "datalist": self.fold.datalist,
            "recipe": self.config,
        }
        write_json(self.ckpt_dir / ABOUT_FILE, about)

    def apply(self, cases: Sequence[Mapping[str, Any]], folder: Path, full: bool, members: Sequence[Path] = ()) -> None:
        """Run configs/inference.json with the training's inferer; ``members`` are models to average, not its own."""
        inferer = self._parser(**({} if full else {"tta_axes": []}))
        parser = self._inference()
        together = Members([str(folder) for folder in members or (self.ckpt_dir,)])
        # The inferer asks the very object that the handlers of the inference load the weights into.
        inferer["validate::inferer::members"] = together
        parser.update(
            {
                "bundle_root": str(BUNDLE),
                "members": together,
                "output_dir": str(folder),
                "device": self._device,
                "num_workers": 0,
                "cases": [{"case": item["case"], "image": item["image"]} for item in cases],
                "inferer": inferer.get_parsed_content("validate::inferer"),
            }
        )
        parser.get_parsed_content("evaluator").run()

    @property
    def weights(self) -> Path:
        """``model.pt``."""
        return self.ckpt_dir / MODEL_FILE

    def recipe(self) -> dict[str, Any]:
        """The merged configs of training and inference."""
        configs = {"training": self.config, "inference": self._inference().get()}
        return {
            part: {key: value for key, value in config.items() if key not in PLACES} for part, config in configs.items()
        }

    def about(self) -> dict[str, Any]:
        """Configs, knobs and the size of the network."""
        network = ConfigParser(self.config).get_parsed_content("network_def")
        return {
            "configs": [file.name for file in self.configs],
            "knobs": self.knobs,
            "million_parameters": sum(p.numel() for p in network.parameters()) / 1e6,
        }

    @property
    def _device(self) -> str:
        return f"$torch.device('{self.device.name}')"

    def _parser(self, **overrides: Any) -> ConfigParser:
        # A copy, as a parser writes into what it is given, and the config is kept with the weights.
        return ConfigParser(copy.deepcopy(self.config) | overrides)

    def _inference(self) -> ConfigParser:
        return read_config([INFERENCE], self._shared_knobs() | self.inference_knobs)

    def _trainer(self, epochs: int) -> tuple[ConfigParser, Engine]:
        """The parser, which holds all objects, and its trainer; the same weights and order for the same seed."""
        set_determinism(seed=self.config["seed"])
        if not self.config["deterministic"]:
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
        parser = self._parser(epochs=epochs)
        parser["train::dataset"] = self.dataset
        return parser, parser.get_parsed_content("train::trainer")

    def _shared_knobs(self) -> dict[str, Any]:
        """What the training's config says of knobs that inference.json has as well, such as ``tta_axes``."""
        knobs = json.loads(INFERENCE.read_text(encoding="utf-8"))["_desc_"]
        return {knob: self.config[knob] for knob in knobs if knob in self.config and knob not in OWN_KNOBS}


def read_config(files: Sequence[Path], overrides: Mapping[str, Any]) -> ConfigParser:
    """Config files merged in their order, then single ids, nested ones by ``::``."""
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update(dict(overrides))
    return parser


def stretch(scheduler: Any, epochs: int) -> None:
    """Make a learning-rate schedule end after ``epochs`` epochs in all.

    Only schedules whose rate follows from the epoch alone can be stretched: those that compute it from the rate before,
    such as PyTorch's CosineAnnealingLR, leave their curve when their length changes on the way.

    Raises:
        InputError: it is neither scripts.learning_rate's nor constant.
    """
    lambdas = getattr(scheduler, "lr_lambdas", [])
    if lambdas and all("epochs" in getattr(one, "keywords", {}) for one in lambdas):
        # scripts.learning_rate's: a function of the epoch with the schedule's numbers bound to it.
        scheduler.lr_lambdas = [functools.partial(one, epochs=epochs) for one in lambdas]
    elif not isinstance(scheduler, ConstantLR):
        raise InputError(
            f"lr_scheduler {type(scheduler).__name__} cannot be fitted to the budget, since its rate does not follow "
            "from the epoch alone; give scripts.learning_rate.scheduler or a constant rate."
        )
