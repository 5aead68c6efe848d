"""The engines: regions made on the device, the training step and its knobs, evaluation in any precision."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from scripts import precision
from scripts.engine import Evaluator, RegionBatch, Trainer
from scripts.errors import InputError
from scripts.networks import UNetDS
from scripts.step import CPP_COMPILERS, Accumulation, StepEvents, check_compiler, place
from tiny import TINY
from workflow import refused, run

CPU = torch.device("cpu")


def test_label_ids_become_nested_byte_regions() -> None:
    label = torch.tensor([0, 1, 2, 3], dtype=torch.uint8).reshape(1, 1, 4, 1, 1)
    image, target = RegionBatch("msd")({"image": torch.rand(1, 4, 4, 1, 1), "label": label}, "cpu")
    assert image.shape == (1, 4, 4, 1, 1)
    assert target is not None and target.dtype == torch.uint8
    assert target[0, :, :, 0, 0].tolist() == [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]


def test_foreign_label_value_names_case_and_scheme() -> None:
    label = torch.full((1, 1, 1, 1, 1), 4, dtype=torch.uint8)
    batch = {"image": torch.rand(1, 4, 1, 1, 1), "label": label, "case": ["BRATS_007"]}
    with pytest.raises(InputError, match="BRATS_007: label value 4 is not in scheme 'msd'"):
        RegionBatch("msd")(batch, "cpu")


def test_unlabelled_batch_has_no_target() -> None:
    assert RegionBatch("msd")({"image": torch.rand(1, 4, 1, 1, 1)}, "cpu")[1] is None


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return place(UNet(3, 4, 3, (4, 8), (2,), num_res_units=1), CPU)


def batches(count: int, size: int = 1) -> list[dict[str, Any]]:
    """Batches of ``size`` random patches of 8x8x8, the same patches in the same order for every ``size``."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(count * size, 4, 8, 8, 8, generator=generator)
    label = torch.randint(0, 4, (count * size, 1, 8, 8, 8), generator=generator, dtype=torch.uint8)
    return [
        {"image": MetaTensor(image[at : at + size]), "label": label[at : at + size]}
        for at in range(0, count * size, size)
    ]


def trainer(data: list[dict[str, Any]], net: torch.nn.Module, **knobs: Any) -> Trainer:
    """A trainer of one epoch by plain gradient descent; its losses are collected in ``state.losses``."""
    knobs = {"loss_function": DiceLoss(sigmoid=True, squared_pred=True), "device": "cpu", "max_epochs": 1} | knobs
    engine = Trainer(
        train_data_loader=data, network=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.5),
        prepare_batch=RegionBatch("msd"), **knobs,
    )  # fmt: skip
    engine.state.losses = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: e.state.losses.append(float(e.state.output[0]["loss"]))
    )
    return engine


def trained(data: list[dict[str, Any]], **knobs: Any) -> tuple[list[float], list[torch.Tensor]]:
    """Losses and final weights of one epoch."""
    net = network()
    engine = trainer(data, net, **knobs)
    engine.run()
    return engine.state.losses, [weight.detach() for weight in net.parameters()]


def distance(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """2-norm of the difference of two lists of weights."""
    return float(torch.cat([(a - b).detach().flatten() for a, b in zip(one, other, strict=True)]).norm())


def test_monai_handlers_find_what_they_know() -> None:
    """Events in MONAI's order; image, label, pred and loss in the output; no MetaTensor in the network."""
    net = network()
    engine = trainer(batches(2), net)
    net.register_forward_pre_hook(lambda module, inputs: seen.update(fed=inputs[0]))
    seen: dict[str, Any] = {}
    fired: list[Any] = []
    once = [
        IterationEvents.FORWARD_COMPLETED, IterationEvents.LOSS_COMPLETED, IterationEvents.BACKWARD_COMPLETED,
        StepEvents.OPTIMIZER_COMPLETED, IterationEvents.MODEL_COMPLETED,
    ]  # fmt: skip
    for event in once:
        engine.add_event_handler(event, lambda e, event: fired.append(event), event)
    engine.add_event_handler(IterationEvents.LOSS_COMPLETED, lambda e: seen.update(e.state.output))
    engine.run()
    assert fired == once * 2
    assert not isinstance(seen["fed"], MetaTensor)
    assert seen["fed"].is_contiguous(memory_format=torch.channels_last_3d)
    assert engine.state.iteration == 2
    assert isinstance(seen["image"], MetaTensor) and not isinstance(seen["pred"], MetaTensor)
    assert seen["pred"].shape == seen["label"].shape == (1, 3, 8, 8, 8)
    assert seen["loss"].ndim == 0


def test_four_accumulated_batches_equal_one_of_four() -> None:
    _, small = trained(batches(4), accumulation_steps=4)
    _, large = trained(batches(1, size=4))
    _, never = trained(batches(4))
    assert distance(small, large) < 1e-6
    assert distance(never, large) > 1e-3


def test_the_rest_of_an_epoch_is_a_step_of_its_own() -> None:
    accumulation = Accumulation(2)
    assert [accumulation.group(i, 3) for i in range(1, 7)] == [(0, 2), (1, 2), (0, 1)] * 2
    assert [accumulation.group(i, None) for i in range(1, 5)] == [(0, 2), (1, 2)] * 2


def test_clipping_bounds_the_step() -> None:
    start = [weight.detach() for weight in network().parameters()]
    _, free = trained(batches(1))
    _, clipped = trained(batches(1), clip_grad_norm=0.01)
    assert distance(start, free) > 0.02
    # Plain gradient descent moves by the learning rate, 0.5, times the gradient.
    assert distance(start, clipped) == pytest.approx(0.005, rel=1e-3)


def test_bf16_on_the_cpu_trains_like_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, weights = trained(batches(3))
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    losses, lowered = trained(batches(3), precision="bf16")
    assert losses == pytest.approx(reference, abs=0.01)
    assert losses != reference
    assert all(weight.dtype == torch.float32 for weight in lowered)
    assert distance(weights, lowered) < 0.05


def test_cpu_without_bf16_computes_in_fp32_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    assert trained(batches(2), precision="bf16")[0] == trained(batches(2))[0]
    assert "this CPU has no instructions for it" in caplog.text


def test_network_of_two_resolutions_trains_on_both_and_predicts_the_full_one() -> None:
    net = place(UNetDS(spatial_dims=3, in_channels=4, out_channels=3, channels=(4, 8, 16), strides=(2, 2),
                       deep_supervision=1), CPU)  # fmt: skip
    engine = trainer(batches(2), net, precision="bf16" if precision.cpu_has_bf16() else "fp32")
    shapes: list[tuple[int, ...]] = []
    engine.add_event_handler(
        IterationEvents.LOSS_COMPLETED, lambda e: shapes.append(tuple(e.state.output["pred"].shape))
    )
    before = net.heads[0].conv.conv.weight.detach().clone()
    engine.run()
    assert shapes == [(1, 3, 8, 8, 8)] * 2
    assert not torch.equal(net.heads[0].conv.conv.weight, before)


class TwoHeads(torch.nn.Module):
    """Two layers, and a head at half the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.full = torch.nn.Conv3d(4, 3, 3, padding=1)
        self.lower = torch.nn.Conv3d(4, 3, 2, stride=2)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.full(x), self.lower(x)]


@pytest.mark.parametrize("heads", [1, 2])
def test_compiled_step_equals_the_eager_one(heads: int) -> None:
    try:
        check_compiler(CPU)
    except InputError as error:
        pytest.skip(str(error))
    # A layer or two: compiling a UNet takes a minute.
    small = torch.nn.Sequential(torch.nn.Conv3d(4, 3, 3, padding=1), torch.nn.PReLU()) if heads == 1 else TwoHeads()
    eager = place(small, CPU)
    compiled = copy.deepcopy(eager)
    engines = [trainer(batches(2), eager), trainer(batches(2), compiled, compile=True)]
    for engine in engines:
        engine.run()
    assert engines[1].state.losses == pytest.approx(engines[0].state.losses, abs=1e-6)
    assert distance([*eager.parameters()], [*compiled.parameters()]) < 1e-6


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"precision": "fp64"}, "precision 'fp64' is unknown; choose one of fp32, bf16, fp16"),
        ({"precision": "fp16"}, "precision fp16 needs a GPU, but the device is the CPU; choose fp32 or bf16"),
        ({"accumulation_steps": 0}, "accumulation_steps 0 is not a positive whole number"),
        ({"clip_grad_norm": -1.0}, "clip_grad_norm -1.0 is not a norm"),
    ],
)
def test_unusable_knob_is_one_sentence(knobs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        trainer(batches(1), network(), **knobs)


def test_compile_without_a_compiler_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match="compile needs a C\\+\\+ compiler"):
        trainer(batches(1), network(), compile=True)
    assert "g++" in CPP_COMPILERS


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_evaluation_is_float32_and_close_in_every_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    net, data = network(), batches(1)
    dtypes: list[torch.dtype] = []
    net.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    engine = Evaluator(
        device="cpu", val_data_loader=data, network=net, prepare_batch=RegionBatch("msd"), precision=name
    )
    engine.run()
    prediction = engine.state.output[0]["pred"]
    assert dtypes == [precision.PRECISIONS[name]] and prediction.dtype == torch.float32
    assert isinstance(prediction, MetaTensor)
    with torch.no_grad():
        reference = net.eval()(data[0]["image"].as_tensor())[0]
    torch.testing.assert_close(prediction.as_tensor(), reference, atol=0.05, rtol=0.05)


class Answers(torch.nn.Module):
    """A network that gives each channel one logit, whatever it sees."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.tensor(values).reshape(1, -1, 1, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, R, H, W, D)."""
        return self.values.expand(len(image), -1, *image.shape[2:])


def test_a_network_that_answers_nan_is_not_scored() -> None:
    data = [{"image": torch.rand(1, 4, 4, 4, 4), "case": ["BRATS_004"]}]
    sure = Answers(torch.inf, -torch.inf, 0.0)
    Evaluator(device="cpu", val_data_loader=data, network=sure, prepare_batch=RegionBatch("msd")).run()
    broken = Answers(torch.nan, 0.0, 0.0)
    engine = Evaluator(device="cpu", val_data_loader=data, network=broken, prepare_batch=RegionBatch("msd"))
    with pytest.raises(InputError, match=r"^BRATS_004: the network's output is no number \(NaN\) in 33% of its values"):
        engine.run()


def test_weights_that_the_last_step_spoilt_are_no_best_model(tiny_decathlon: Path, tmp_path: Path) -> None:
    """The loss of an epoch of one step is that of the weights before it, so it tells nothing."""
    knobs = TINY | {"learning_rate": 1e38, "batch_size": 8, "schedule": "poly", "warmup_epochs": 0}
    sentence = refused(tmp_path, "train.json", dataset_dir=str(tiny_decathlon), **knobs)
    assert sentence.startswith("BRATS_0") and "use precision fp32, and if that is no better train anew" in sentence
    assert not list(tmp_path.glob("models/*"))


def test_data_wait_is_recorded_every_epoch(tiny_decathlon: Path, tmp_path: Path) -> None:
    run(tmp_path, "train.json", dataset_dir=str(tiny_decathlon), **(TINY | {"epochs": 2}))
    folder = tmp_path / "runs" / "run"
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert 0 < record["data_wait_s"] < record["seconds"]
        assert 0 < record["data_wait_share"] < 1
    assert "data wait" in (folder / "log.txt").read_text()
