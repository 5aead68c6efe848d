"""The engines: MONAI's, with the step, the precision and the batch of this bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer, SimpleInferer
from monai.utils import CommonKeys
from torch import nn

from scripts.checkpoints import unwrapped
from scripts.errors import InputError
from scripts.labels import REGIONS, get_scheme, known_labels_to_regions, refuse_foreign_values
from scripts.native import refuse_no_numbers
from scripts.precision import PrecisionInferer, usable_precision
from scripts.step import Accumulation, ForwardLoss, StepEvents, gradient_sync, plain


class RegionBatch:
    """The engines' ``prepare_batch``: moves a batch to the device and turns its label ids into region channels there.

    Labels travel as one uint8 map until this point: a twelfth of the bytes of three float channels through cache,
    workers and the bus, and no interpolation can break the nesting of the regions.

    Args:
        label_scheme: a scheme of :mod:`scripts.labels`.
        regions: channel order of the target.
        label_key: batch entry that holds the ids, (B, 1, H, W, D). A batch without it (inference) has no target.
    """

    def __init__(self, label_scheme: str, regions: Sequence[str] = REGIONS, label_key: str = "label") -> None:
        self.scheme = get_scheme(label_scheme)
        self.regions = tuple(regions)
        self.label_key = label_key

    def __call__(
        self,
        batchdata: dict[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **to_options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return image (B, M, H, W, D) and uint8 regions (B, R, H, W, D) or None, both on ``device``.

        ``to_options`` are the engine's ``to_kwargs``, handed to ``torch.Tensor.to``.

        Raises:
            InputError: the label holds an id that its scheme does not know.
        """
        image = batchdata["image"].to(device=device, non_blocking=non_blocking, **to_options)
        if self.label_key not in batchdata:
            return image, None
        label = batchdata[self.label_key]
        # Looked at before it is moved: asking a GPU for a value would make the host wait for it in every step.
        refuse_foreign_values(label, self.scheme, _names(batchdata))
        label = label.to(device=device, non_blocking=non_blocking, **to_options)
        return image, known_labels_to_regions(label, self.scheme, self.regions)


class Trainer(SupervisedTrainer):
    """MONAI's supervised trainer with a step of its own, for any device.

    The weights are channels-last where :func:`scripts.step.place` put them so; the batch is brought into that order.
    MONAI's events are fired in MONAI's order, and ``state.output`` holds what MONAI's does; but prediction and loss are
    computed as one region, so a ``FORWARD_COMPLETED`` handler cannot change the prediction that the loss sees.
    Prediction, and what the network gets, are plain tensors.

    Args:
        network: the network, placed and wrapped for distributed training where that is wanted.
        inferer: applies the network; None calls it.
        precision: fp32, bf16 (fp32 on a CPU without it), or fp16 with scaled gradients.
        compile: compile network and loss as one region.
        accumulation_steps: iterations whose mean gradient makes one step of the optimiser. For a loss that is a mean
            over patches this equals one batch of that many; a batch Dice is computed batch by batch.
        clip_grad_norm: largest 2-norm of all gradients together; 0 does not clip.
        options: the other arguments of ``monai.engines.SupervisedTrainer``.

    Raises:
        InputError: a value is out of range, or the device cannot do it.
    """

    def __init__(
        self,
        *,
        device: str | torch.device,
        network: nn.Module,
        loss_function: Any,
        inferer: Inferer | None = None,
        precision: str = "fp32",
        compile: bool = False,
        accumulation_steps: int = 1,
        clip_grad_norm: float = 0.0,
        **options: Any,
    ) -> None:
        device = torch.device(device)
        precision = usable_precision(precision, device)
        if not 0 <= clip_grad_norm < math.inf:
            raise InputError(f"clip_grad_norm {clip_grad_norm} is not a norm; choose 0 (off) or more, such as 12.")
        self.accumulation = Accumulation(accumulation_steps)
        self.clip_grad_norm = float(clip_grad_norm)
        self.forward_loss = ForwardLoss(loss_function, inferer or SimpleInferer(), precision, device, compile)
        # Disabled it hands everything through, so there is one way through a step.
        self.gradient_scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        super().__init__(
            device=device,
            network=network,
            loss_function=loss_function,
            inferer=inferer,
            event_names=[StepEvents],
            **options,
        )

    def _iteration(self, engine: Engine, batchdata: dict[str, Any]) -> dict[str, Any]:
        """One iteration: prepare, forward and loss, backward, and the optimiser's step if its group is complete."""
        image, target, *rest = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        args, kwargs = rest or ((), {})
        position, size = self.accumulation.group(self.state.iteration, self.state.epoch_length)
        is_last = position == size - 1
        self.network.train()
        if position == 0:
            self.optimizer.zero_grad(set_to_none=True)
        self.state.output = {CommonKeys.IMAGE: image, CommonKeys.LABEL: target}
        with gradient_sync(self.network, wanted=is_last):
            prediction, loss = self.forward_loss(
                self.network, plain(image, channels_last=True), plain(target), *args, **kwargs
            )
            self.state.output[CommonKeys.PRED] = prediction
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)
            self.state.output[CommonKeys.LOSS] = loss
            engine.fire_event(IterationEvents.LOSS_COMPLETED)
            self.gradient_scaler.scale(loss / size).backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if is_last:
            self._update_weights()
            engine.fire_event(StepEvents.OPTIMIZER_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _update_weights(self) -> None:
        if self.clip_grad_norm > 0:
            self.gradient_scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_grad_norm)
        self.gradient_scaler.step(self.optimizer)
        self.gradient_scaler.update()


class Evaluator(SupervisedEvaluator):
    """MONAI's supervised evaluator in any precision on any device; predictions are float32.

    A network wrapped for distributed training is evaluated unwrapped: processes may have different numbers of cases,
    and would wait for each other.

    Args:
        network: the network.
        inferer: applies it; None calls it.
        precision: fp32, bf16 (fp32 on a CPU without it) or fp16.
        options: the other arguments of ``monai.engines.SupervisedEvaluator``.

    Raises:
        InputError: the device cannot compute in that precision; when run, the network answers with NaN.
    """

    def __init__(
        self,
        *,
        device: str | torch.device,
        network: nn.Module,
        inferer: Inferer | None = None,
        precision: str = "fp32",
        **options: Any,
    ) -> None:
        device = torch.device(device)
        inferer = PrecisionInferer(inferer or SimpleInferer(), usable_precision(precision, device), device)
        super().__init__(device=device, network=unwrapped(network), inferer=inferer, **options)
        self.add_event_handler(IterationEvents.FORWARD_COMPLETED, _refuse_nan)


def _refuse_nan(engine: Engine) -> None:
    """Before thresholds make "no tumour" of NaN, a score of that, and in a training maybe the best model."""
    prediction = plain(engine.state.output[CommonKeys.PRED])
    if not torch.isfinite(prediction.sum()):
        # An infinite logit is a sure answer: 0 or 1 as a probability.
        refuse_no_numbers(torch.sigmoid(prediction), _names(engine.state.batch))


def _names(batchdata: dict[str, Any]) -> str:
    """The cases of a batch, for messages."""
    cases = batchdata.get("case", "batch")
    return cases if isinstance(cases, str) else ", ".join(map(str, cases))
