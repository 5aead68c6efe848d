"""Bundles that were written without a thought of this server: their answers are those of local inference."""

from __future__ import annotations

import gc
import io
import json
import shutil
import sys
import tarfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import template_bundle, zoo_bundle
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor
from PIL import Image
from served import NIFTI, assert_same_volume, invoke, local_inference, pack, serving, started, volume_of
from tiny import AFFINE, make_case, save

from sm_launch.container.serve.answers import answer, class_probabilities
from sm_launch.container.serve.bundle import ServedBundle
from sm_launch.container.serve.errors import Refusal
from sm_launch.container.serve.graph import dependents, output_ids
from sm_launch.container.serve.outcome import Outcome


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    return pack(zoo_bundle(folder / "source"), folder / "artifact")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    return pack(template_bundle(folder / "source"), folder / "artifact")


@pytest.fixture(scope="module")
def zoo_url(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(zoo, tmp_path_factory.mktemp("server") / "log.txt") as url:
        yield url


@pytest.fixture(scope="module")
def template_url(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(template, tmp_path_factory.mktemp("server") / "log.txt") as url:
        yield url


def test_zoo_bundle_answers_as_local_inference(zoo: Path, zoo_url: str, tmp_path: Path) -> None:
    # Two cases, and the first again: nothing of one may be left in the next.
    for seed, name in ((1, "a"), (2, "b")):
        save(make_case(seed, shape=(26 + seed, 25, 17))[0][..., 0], tmp_path / "data" / "imagesTs" / f"{name}.nii.gz")
    local_inference(
        zoo / "bundle", tmp_path / "out", "--dataset_dir", str(tmp_path / "data"), "--bundle_root", str(zoo / "bundle")
    )
    for name in ("a", "b", "a"):
        response = invoke(zoo_url, (tmp_path / "data" / "imagesTs" / f"{name}.nii.gz").read_bytes())
        assert response.status_code == 200, response.text
        assert_same_volume(response.content, tmp_path / "out" / name / f"{name}_trans.nii.gz")
    labels = invoke(
        zoo_url, (tmp_path / "data" / "imagesTs" / "a.nii.gz").read_bytes(), NIFTI | {"Accept": "application/json"}
    ).json()["files"][0]["labels"]
    assert labels and set(labels) <= {"1", "2"}


def test_zoo_bundle_refuses_four_channels(zoo_url: str, tmp_path: Path) -> None:
    response = invoke(zoo_url, save(make_case(1)[0], tmp_path / "four.nii.gz").read_bytes())
    assert response.status_code == 400
    assert "4 channels, but this bundle takes 1" in response.json()["error"]


def picture(kind: str, size: tuple[int, int] = (48, 40), mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(7).integers(0, 255, size=(size[1], size[0], len(mode)), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_template_bundle_classifies_a_picture(
    template: Path, template_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    body = picture(kind)
    response = invoke(template_url, body, {"Content-Type": f"image/{kind.lower()}"})
    assert response.status_code == 200, response.text
    found = response.json()
    # The template's pattern finds .jpeg only; to local inference a PNG is the same picture under that name.
    (tmp_path / "one.jpeg").write_bytes(body)
    workflow = ConfigWorkflow(
        config_file=str(template / "bundle" / "configs" / "inference.json"), logging_file=False, workflow_type="infer",
        run_id="evaluating", bundle_root=str(template / "bundle"), dataset_dir=str(tmp_path),
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    (output,) = workflow.parser.get_parsed_content("evaluator").state.output
    torch.testing.assert_close(torch.tensor(found["pred"]), output["pred"].as_tensor().cpu(), rtol=1e-5, atol=1e-6)
    names = ["nevus", "melanoma", "keratosis"]
    assert found["class"] == names[int(np.argmax(found["pred"]))]
    assert found["probability"] == max(found["pred"])
    assert list(found["probabilities"]) == names


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (picture("JPEG")[:400], 400, "truncated"),
        (picture("PNG", mode="L"), 400, "1 channels"),
        (b"\xff\xd8\xff\xe0" + bytes(100), 400, "damaged"),
    ],
)
def test_bad_picture_is_one_sentence(template_url: str, body: bytes, status: int, words: str) -> None:
    response = invoke(template_url, body, {"Content-Type": "application/octet-stream"})
    assert response.status_code == status
    assert words in response.json()["error"]


def test_pickled_code_is_not_run(zoo: Path, tmp_path: Path) -> None:
    """A bundle whose weights are a pickle that calls a function: the server ends, and the function was not called."""
    bundle = tmp_path / "source"
    shutil.copytree(zoo / "bundle", bundle)
    mark = tmp_path / "called"
    config = bundle / "configs" / "inference.json"
    # A loader that asks for pickles, as older bundles do.
    config.write_text(
        config.read_text().replace(
            '"$monai.utils.set_determinism(seed=123)"',
            "\"$torch.load(@bundle_root + '/models/model.pt', weights_only=False)\"",
        )
    )

    class Call:
        def __reduce__(self):
            return (Path.touch, (mark,))

    torch.save({"model": Call()}, bundle / "models" / "model.pt")
    model = pack(bundle, tmp_path / "model")
    log = tmp_path / "log.txt"
    with started(model, log) as (process, _):
        assert process.wait(120) == 1
    assert "Weights only load failed" in log.read_text()
    assert not mark.exists()


def test_what_depends_on_the_case() -> None:
    configs = {
        "dataset_dir": "x", "cases": "$f(@dataset_dir)", "dataset": {"data": "@cases", "transform": "@pre"},
        "dataset::data": "@cases", "dataset::transform": "@pre", "pre": {"_target_": "P"}, "net": {"_target_": "N"},
        "evaluator": {"loader": {"_target_": "L", "dataset": "@dataset"}, "network": "@net"},
        "evaluator::loader": {"_target_": "L", "dataset": "@dataset"}, "run": ["$@evaluator.run()"],
    }  # fmt: skip
    stale = dependents(configs, ["dataset_dir"])
    assert stale == {"dataset_dir", "cases", "dataset", "dataset::data", "evaluator", "evaluator::loader", "run"}
    assert dependents(configs, ["dataset::data"]) == stale - {"dataset_dir", "cases"}


def test_every_place_to_write_is_found() -> None:
    config = {
        "output_dir": "out",
        "post": {"_target_": "Compose", "transforms": [{"_target_": "monai.transforms.SaveImaged", "keys": "pred"}]},
        "handlers": [{"_target_": "ClassificationSaver", "output_dir": "@output_dir"}, {"_target_": "StatsHandler"}],
    }
    assert output_ids(config) == ["output_dir", "post::transforms::0::output_dir", "handlers::0::output_dir"]


def test_network_of_another_shape_is_that_of_the_training(
    zoo: Path, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    trained = {"network_def::channels": [8, 16], "network_def::absent": 1, "dataset_dir": "/elsewhere", "epochs": 3}
    parser = ServedBundle(zoo / "bundle", ["configs/inference.json"], "", {}, trained).parser
    assert parser["network_def::channels"] == [8, 16]
    assert "network_def::absent" not in parser and "epochs" not in parser
    assert parser["dataset_dir"] == "/workspace/data"


def test_weights_that_initialize_loads_are_kept(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bundles fill the network once, in ``initialize``, and have no handler that would do it again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shutil.copytree(zoo / "bundle", tmp_path / "bundle")
    config = json.loads((tmp_path / "bundle" / "configs" / "inference.json").read_text())
    config["initialize"] = ["$@network.load_state_dict(torch.load(@bundle_root + '/models/model.pt'))"]
    config["handlers"] = []
    (tmp_path / "bundle" / "configs" / "inference.json").write_text(json.dumps(config))
    image = save(make_case(1)[0][..., 0], tmp_path / "input" / "case.nii.gz")
    answers = []
    for bundle in (zoo / "bundle", tmp_path / "bundle"):
        served = ServedBundle(bundle, ["configs/inference.json"], "", {}, {})
        served.warm_up([image], tmp_path / bundle.parent.name / "first")
        (file,) = served.run([image], tmp_path / bundle.parent.name / "second").files
        answers.append(file.read_bytes())
    assert answers[0] == answers[1]


def test_nothing_of_a_case_stays_in_memory(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    served = ServedBundle(zoo / "bundle", ["configs/inference.json"], "", {}, {})
    image = save(make_case(1)[0][..., 0], tmp_path / "input" / "case.nii.gz")
    served.warm_up([image], tmp_path / "out")
    network = served.parser.get_parsed_content("network")
    voxels = weakref.ref(served.run([image], tmp_path / "out").pred)
    gc.collect()
    assert voxels() is None
    assert served.parser.get_parsed_content("network") is network


def test_prediction_that_the_bundle_does_not_save_is_a_volume_on_its_grid(tmp_path: Path) -> None:
    labels = torch.zeros(1, 20, 21, 22)
    labels[:, 5:9] = 2
    content, media_type = answer(Outcome((), MetaTensor(labels, affine=AFFINE)), False, (), tmp_path)
    assert media_type == "application/gzip"
    image = volume_of(content)
    assert np.array_equal(np.asanyarray(image.dataobj), labels[0].numpy())
    assert np.allclose(image.affine, AFFINE)


def test_several_files_come_as_a_tar(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.json", "b.csv")]
    for file in files:
        file.write_text(file.name)
    content, media_type = answer(Outcome(tuple(files), None), False, (), tmp_path)
    assert media_type == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert [archive.extractfile(member).read() for member in archive] == [b"a.json", b"b.csv"]


def test_run_that_leaves_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="wrote no file and kept no prediction"):
        answer(Outcome((), None), False, (), tmp_path)


@pytest.mark.parametrize(
    ("pred", "classes", "told"),
    [
        ([0.2, 0.7, 0.1], ("a", "b", "c"), {"class": "b", "probability": 0.7}),
        ([0.2, 0.8], (), {"class": "1", "probability": 0.8}),
        ([1.0], ("a", "b"), {"class": "b"}),
        ([3.5, 2.0], ("a", "b"), {}),
        ([0.5], (), {}),
    ],
)
def test_small_predictions(pred: list[float], classes: tuple[str, ...], told: dict[str, object]) -> None:
    found = class_probabilities(torch.tensor(pred, dtype=torch.float64), classes)
    assert found["pred"] == pred
    assert {key: found[key] for key in ("class", "probability") if key in found} == told
