"""A bundle that the launcher and its container were not written for: pictures in, one JSON a picture out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from emulator import aws
from forked import LEAN, run_forked
from PIL import Image
from tiny_ham10000 import write_tiny_ham10000
from user import IMAGE, REGION, ROOT, SEND, SERVER, User

BUNDLE = ROOT / "labs" / "skin_lesion_bundle"
BUCKET = "skin-end-to-end"
RUN, SEARCH_RUN, BATCH_RUN = "skin-1", "skin-2", "skin-3"
ANSWERS = {"class", "name", "probability", "confidence", "probabilities"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in HAM10000's layout."""
    return write_tiny_ham10000(tmp_path_factory.mktemp("data") / "HAM10000")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[User]:
    """A user of the spec that the bundle brings, on CPUs."""
    folder = tmp_path_factory.mktemp("skin_user")
    spec = yaml.safe_load((BUNDLE / "docs" / "sagemaker.yaml").read_text(encoding="utf-8"))
    spec |= {"bundle": str(BUNDLE), "bucket": {"name": BUCKET, "create": True}, "data": {"source": str(pictures)}}
    small = {"epochs": 2, "image_size": 32, "batch_size": 16}
    environment = {"OMP_NUM_THREADS": "1", **LEAN}
    spec["train"] |= {
        "instance_type": "ml.c5.xlarge", "overrides": small, "packages": [], "environment": environment,
    }  # fmt: skip
    spec["deploy"] |= {"image": IMAGE, "environment": {"BIND_HOST": "127.0.0.1", "OMP_NUM_THREADS": "1"}}
    with aws(serve_command=SERVER, folder=folder / "aws", region=REGION) as account:
        spec["role"] = account.role
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
        yield User(account, folder, BUCKET)


@pytest.fixture(scope="module")
def applied(user: User) -> str:
    """What ``apply`` printed."""
    return user.types("apply", str(user.folder / "spec.yaml"), "--run", RUN, "--yes", "--poll", "0.5")


@pytest.fixture(scope="module")
def cases(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three JPEGs."""
    folder = tmp_path_factory.mktemp("cases")
    for file in sorted(pictures.rglob("*.jpg"))[::30][:3]:
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def local(user: User, applied: str, cases: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """The answers of ``monai.bundle run`` with the model that the job left, by picture."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "model.tar.gz").write_bytes(
        user.objects(f"sm-launch/runs/{RUN}/output/")[f"{RUN}-train/output/model.tar.gz"]
    )
    shutil.unpack_archive(folder / "model.tar.gz", folder / "model")
    command = ["run", "--config_file", "configs/inference.json", "--dataset_dir", str(cases)]
    done = run_forked("monai.bundle", [*command, "--output_dir", str(folder / "out")], folder / "model" / "bundle", {})
    assert done.returncode == 0, done.stderr[-2000:]
    return read(folder / "out")


def read(folder: Path) -> dict[str, dict]:
    """JSON answers by picture."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("ISIC_*.json"))}


def assert_same_answers(found: dict[str, dict], wanted: dict[str, dict]) -> None:
    assert set(found) == set(wanted) and len(found) == 3
    for name, answer in found.items():
        assert set(answer) == ANSWERS and answer["class"] == wanted[name]["class"]
        assert answer["probabilities"] == pytest.approx(wanted[name]["probabilities"], abs=1e-5)
        assert answer["confidence"] == pytest.approx(wanted[name]["confidence"], abs=1e-5)


def test_the_plan_names_what_this_bundle_logs(user: User) -> None:
    plan = json.loads(user.types("plan", str(user.folder / "spec.yaml"), "--json", "--run", RUN))
    assert '"val_auc"' in json.dumps(plan) and '"val_mean_dice"' not in json.dumps(plan)


def test_the_training_is_followed_by_its_own_metric(user: User, applied: str) -> None:
    job = user.account.session().client("sagemaker").describe_training_job(TrainingJobName=f"{RUN}-train")
    found = {one["MetricName"]: one["Value"] for one in job["FinalMetricDataList"]}
    assert set(found) == {"train_loss", "val_auc"} and 0.5 < found["val_auc"] <= 1


def test_a_picture_is_answered_as_by_local_inference(user: User, cases: Path, local: dict, tmp_path: Path) -> None:
    assert "3 answered" in user.types("predict", RUN, str(cases), str(tmp_path), *SEND)
    assert_same_answers(read(tmp_path), local)


def test_unfit_pictures_are_a_sentence_each_and_stop_no_other(
    user: User, applied: str, cases: Path, tmp_path: Path
) -> None:
    folder, answers = tmp_path / "cases", tmp_path / "answers"
    shutil.copytree(cases, folder)
    (folder / "damaged.jpg").write_bytes(min(cases.iterdir()).read_bytes()[:400])
    with Image.open(min(cases.iterdir())) as picture:
        picture.convert("L").convert("RGB").save(folder / "grey.jpg")
    said = user.types("predict", RUN, str(folder), str(answers), *SEND, fails=True)
    assert "3 answered" in said and "2 failed" in said
    assert "damaged: failed, The picture is damaged or truncated; send the whole file." in said
    # What the bundle said of it may quote its content, and stays in the container's log.
    assert "grey: failed, The bundle's preprocessing does not take this image" in said
    assert len(read(answers)) == 3 and not (answers / "grey.json").exists()


def test_a_folder_goes_through_batch_transform(user: User, cases: Path, local: dict, tmp_path: Path) -> None:
    model = f"s3://{BUCKET}/sm-launch/runs/{RUN}/output/{RUN}-train/output/model.tar.gz"
    words = ["apply", str(user.folder / "spec.yaml"), "--jobs", "deploy", "--run", BATCH_RUN, "--yes", "--poll", "0.5"]
    changes = {"deploy.model": model, "deploy.mode": "batch", "deploy.input": "data/HAM10000_images_part_1"}
    user.types(*words, *(word for key, value in changes.items() for word in ("--set", f"{key}={value}")))
    of_all = user.objects(f"sm-launch/runs/{BATCH_RUN}/answers/")
    assert len(of_all) == 84 and all(set(json.loads(answer)) == ANSWERS for answer in of_all.values())
    user.types("predict", BATCH_RUN, str(cases), str(tmp_path), *SEND)
    assert_same_answers(read(tmp_path), local)


def test_two_trials_are_judged_by_auc(user: User, applied: str) -> None:
    changes = {"deploy": None, "tune": {"search": "configs/search/rate_and_decay.json", "trials": 2, "parallel": 1}}
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    user.types("apply", str(user.folder / "spec.yaml"), "--run", SEARCH_RUN, "--yes", "--poll", "0.5", *words)
    best = user.folder / "best.json"
    table = user.types("results", SEARCH_RUN, "--best", str(best)).splitlines()
    assert table[0].split()[0] == "val_auc"
    assert float(table[1].split()[0]) >= float(table[2].split()[0])
    assert set(json.loads(best.read_text())) == {"learning_rate", "weight_decay"}


def test_down_leaves_nothing(user: User, applied: str) -> None:
    for run in (RUN, SEARCH_RUN, BATCH_RUN):
        if (user.folder / "home" / f"{run}.json").exists():
            assert "nothing is left that runs" in user.types("down", run, "--yes", "--files", "--poll", "0.2")
    left = [one for one in user.account.everything_left() if one.billed]
    assert [one.kind for one in left if one.kind != "object"] == ["bucket"]
