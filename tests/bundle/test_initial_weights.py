"""Starting from weights learnt before: what is loaded, what is refused, what a continued training does with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import processes
import pytest
import torch
from documents import find_what_is_named
from ignite.engine import Engine, Events
from monai.networks.nets import UNet
from scripts.errors import InputError, find_input_error
from scripts.initial_weights import initial_network
from scripts.shrink import main, shrink
from tiny import TINY
from workflow import run, workflow

# A step too small to change a float32: the weights that a training ends with are those that it began with.
STILL = TINY | {"learning_rate": 1e-30, "weight_decay": 0.0, "ema_decay": 0.9}


def network(channels: tuple[int, ...] = (4, 8, 16), regions: int = 3) -> UNet:
    """The network of TINY, by default."""
    return UNet(3, 4, regions, channels, strides=(2,) * (len(channels) - 1), num_res_units=1)


def saved(file: Path, **shape: Any) -> dict[str, torch.Tensor]:
    """Weights of a network, written to ``file``."""
    state = network(**shape).state_dict()
    torch.save(state, file)
    return state


def test_weights_in_half_precision_start_a_network_in_float32(tmp_path: Path) -> None:
    state = saved(tmp_path / "model.pt")
    shrink(tmp_path / "model.pt", tmp_path / "small.pt")
    started = initial_network(network(), str(tmp_path / "small.pt"), {})
    for name, value in started.state_dict().items():
        assert value.dtype == state[name].dtype
        assert torch.allclose(value, state[name], rtol=1e-3, atol=1e-4)
    assert {value.dtype for value in started.state_dict().values()} >= {torch.float32}


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ({"weight": torch.tensor([1.0, 1 + 2**-12]), "empty": torch.empty(0, 3)}, 2**-12 / (1 + 2**-12)),
        ({"empty": torch.empty(0)}, 0.0),
        ({"steps": torch.tensor(7)}, 0.0),
    ],
)
def test_tensors_without_a_weight_are_no_obstacle(
    tmp_path: Path, state: dict[str, torch.Tensor], change: float
) -> None:
    torch.save(state, tmp_path / "model.pt")
    assert shrink(tmp_path / "model.pt", tmp_path / "small.pt") == pytest.approx(change)
    small = torch.load(tmp_path / "small.pt", weights_only=True)
    assert {name: value.shape for name, value in small.items()} == {name: value.shape for name, value in state.items()}


def test_null_and_a_continued_training_leave_the_weights_as_they_are(tmp_path: Path) -> None:
    saved(tmp_path / "model.pt")
    for file, state in ((None, {}), (str(tmp_path / "model.pt"), {"epoch": 1})):
        fresh = network()
        before = {name: value.clone() for name, value in fresh.state_dict().items()}
        assert initial_network(fresh, file, state) is fresh
        assert all(torch.equal(before[name], value) for name, value in fresh.state_dict().items())


@pytest.mark.parametrize("shape", [{"channels": (4, 8)}, {"channels": (4, 8, 32)}, {"regions": 1}])
def test_weights_of_another_network_are_refused(tmp_path: Path, shape: dict[str, Any]) -> None:
    saved(tmp_path / "model.pt", **shape)
    with pytest.raises(
        InputError, match=r"another network .* same network_def, modalities and regions, or set initial"
    ):
        initial_network(network(), str(tmp_path / "model.pt"), {})


def test_a_file_that_is_absent_or_no_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"initial_weights .*absent\.pt: there is no such file"):
        initial_network(network(), str(tmp_path / "absent.pt"), {})
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(InputError, match="is not a readable PyTorch checkpoint"):
        initial_network(network(), str(tmp_path / "text.pt"), {})


def test_shrinking_what_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model, found in ((tmp_path / "absent.pt", "there is no such file"), (tmp_path, "is a folder")):
        assert main(["--model", str(model), "--output", str(tmp_path / "small.pt")]) == 1
        assert capsys.readouterr().err == f"error: {model}: {found}; give the model.pt of a training.\n"
    assert not (tmp_path / "small.pt").exists()


def test_a_training_begins_with_the_weights_and_records_them(tmp_path: Path, tiny_decathlon: Path) -> None:
    state = saved(tmp_path / "start.pt")
    run(tmp_path, "train.json", dataset_dir=str(tiny_decathlon), initial_weights=str(tmp_path / "start.pt"), **STILL)
    ended = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(ended[name], value) for name, value in state.items())
    folder = tmp_path / "runs" / "run"
    assert "start.pt" in (folder / "config.json").read_text(encoding="utf-8")
    assert "initial weights: " in (folder / "log.txt").read_text(encoding="utf-8")


def train_still(folder: Path, data: Path, configs: tuple[str, ...]) -> None:
    """What each of two processes does; rank 0 alone has the file."""
    file = folder / ("start.pt" if os.environ["RANK"] == "0" else "absent.pt")
    still = STILL | {"split_ratios": [0.5, 0.25, 0.25], "backend": "gloo"}
    run(folder, "train.json", *configs, dataset_dir=str(data), initial_weights=str(file), **still)


@pytest.mark.parametrize("configs", [("multi_gpu_train.json",), ("multi_gpu_train.json", "fsdp_train.json")])
def test_all_processes_begin_with_rank_zeros_weights(
    tmp_path: Path, tiny_decathlon: Path, configs: tuple[str, ...]
) -> None:
    state = saved(tmp_path / "start.pt")
    processes.together(train_still, 2, tmp_path, tiny_decathlon, configs)
    ended = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(ended[name], value) for name, value in state.items())


def test_a_resumed_training_does_not_begin_anew(tmp_path: Path, tiny_decathlon: Path) -> None:
    data = {"dataset_dir": str(tiny_decathlon), "resume": "auto"}
    run(tmp_path, "train.json", **(TINY | data))
    trained = torch.load(tmp_path / "models" / "model_last.pt", weights_only=True)["model"]
    saved(tmp_path / "start.pt")
    longer = TINY | data | {"epochs": 2, "initial_weights": str(tmp_path / "start.pt")}
    job = workflow(tmp_path, "train.json", **longer)
    job.initialize()
    trainer = job.content("train::trainer")
    begun: dict[str, torch.Tensor] = {}

    def note(engine: Engine) -> None:
        begun.update({name: value.clone() for name, value in engine.network.state_dict().items()})

    trainer.add_event_handler(Events.EPOCH_STARTED, note)
    job.run()
    job.finalize()
    assert all(torch.equal(begun[name], value) for name, value in trained.items())


def test_a_workflow_refuses_the_weights_of_another_network(tmp_path: Path, tiny_decathlon: Path) -> None:
    saved(tmp_path / "start.pt", channels=(4, 8))
    job = workflow(
        tmp_path, "train.json", dataset_dir=str(tiny_decathlon), initial_weights=str(tmp_path / "start.pt"), **TINY
    )
    job.initialize()
    with pytest.raises(Exception) as raised:  # noqa: PT011  MONAI wraps what goes wrong inside a config
        job.run()
    assert "holds the weights of another network" in str(find_input_error(raised.value))


def test_the_small_file_holds_weights_alone_at_half_the_size(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model, small = tmp_path / "model.pt", tmp_path / "small.pt"
    state = network(channels=(16, 32, 64)).state_dict()
    torch.save({"model": state, "optimizer": {"moments": torch.ones(10**5)}}, model)
    assert main(["--model", str(model), "--output", str(small)]) == 0
    assert "MB instead of" in capsys.readouterr().out
    loaded = torch.load(small, weights_only=True)
    assert list(loaded) == list(state)
    assert {value.dtype for value in loaded.values() if value.is_floating_point()} == {torch.float16}
    payload = sum(value.numel() * value.element_size() for value in loaded.values())
    assert small.stat().st_size < 1.2 * payload + 20_000


def test_what_half_precision_cannot_hold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save({"weight": torch.tensor([1e6])}, tmp_path / "model.pt")
    assert main(["--model", str(tmp_path / "model.pt"), "--output", str(tmp_path / "small.pt")]) == 1
    assert "'weight' has values beyond half precision" in capsys.readouterr().err
    torch.save([1, 2], tmp_path / "list.pt")
    assert main(["--model", str(tmp_path / "list.pt"), "--output", str(tmp_path / "small.pt")]) == 1
    assert "holds no state dict" in capsys.readouterr().err
    assert not (tmp_path / "small.pt").exists()


def test_the_page_about_the_shipped_weights_names_what_exists() -> None:
    find_what_is_named("bundle/docs/pretrained.md")
