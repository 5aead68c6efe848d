"""Bundles that were written without a thought of this server: their answers are those of local inference."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import template_bundle, zoo_bundle
from monai.bundle import ConfigWorkflow
from PIL import Image
from served import NIFTI, assert_same_volume, invoke, local_inference, pack, serving, started
from tiny import make_case, save

from sm_launch.container.serve.graph import dependents, output_ids


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
