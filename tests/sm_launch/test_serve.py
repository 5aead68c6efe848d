"""The serving container around this project's bundle: real requests over loopback, held against local inference."""

from __future__ import annotations

import concurrent.futures
import gzip
import io
import shutil
import struct
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import pytest
from served import (
    NIFTI,
    assert_same_volume,
    inference_here,
    invoke,
    local_inference,
    ping,
    started,
    temporary,
    volume_of,
)
from tiny import AFFINE, make_case, save, write_brats_folders

pytest_plugins = ["served"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / "log.txt"


@dataclass(frozen=True)
class Start:
    """What a server answered while it started: statuses of /ping, and an invocation before the model was warm."""

    url: str
    pings: list[int]
    early: httpx.Response


@pytest.fixture(scope="module")
def start(model_dir: Path, log: Path) -> Iterator[Start]:
    with started(model_dir, log, MAX_BODY_MB="40", MAX_QUEUE="1") as (process, url):
        pings: list[int] = []
        early = None
        while not pings or pings[-1] != 200:
            assert process.poll() is None, log.read_text()[-3000:]
            if status := ping(url):
                pings.append(status)
                early = early or invoke(url, SOUND)
            time.sleep(0.05)
        yield Start(url, pings, early)


@pytest.fixture(scope="module")
def url(start: Start) -> str:
    return start.url


@pytest.fixture(scope="module")
def cases(tiny_decathlon: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny cases, one of them not compressed, and one of the size and weight of a BraTS patient's."""
    folder = tmp_path_factory.mktemp("cases")
    shutil.copy(tiny_decathlon / "imagesTs" / "BRATS_009.nii.gz", folder / "small.nii.gz")
    save(make_case(77, shape=(30, 22, 18))[0], folder / "plain.nii")
    rng = np.random.default_rng(3)
    shape = (240, 240, 155)
    ball = sum(axis**2 for axis in np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")) < 0.7
    volume = np.zeros((*shape, 4), np.int16)
    volume[ball] = rng.integers(300, 364, size=(int(ball.sum()), 4))
    image = nib.Nifti1Image(volume, np.diag([-1.0, -1.0, 1.0, 1.0]))
    (folder / "large.nii.gz").write_bytes(gzip.compress(image.to_bytes(), compresslevel=1))
    return folder


@pytest.fixture(scope="module")
def local(model_dir: Path, cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``python -m monai.bundle run`` writes for the same cases."""
    folder = tmp_path_factory.mktemp("local")
    local_inference(model_dir / "bundle", folder, "--dataset_dir", str(cases))
    return folder


@pytest.fixture(scope="module")
def brats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases in folders, in both of the releases' ways to name files; no two names of a way are of one patient."""
    folder = write_brats_folders(tmp_path_factory.mktemp("brats"), cases=1, labelled=False)
    return write_brats_folders(folder, cases=1, style="2023", labelled=False)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("small.nii.gz", "application/x-nifti"), ("small.nii.gz", "application/gzip"),
        ("plain.nii", "application/octet-stream"), ("large.nii.gz", "application/x-nifti"),
    ],
)  # fmt: skip
def test_label_volume_is_that_of_local_inference(
    url: str, cases: Path, local: Path, name: str, content_type: str
) -> None:
    body = (cases / name).read_bytes()
    assert not name.startswith("large") or len(body) > 10_000_000
    response = invoke(url, body, {"Content-Type": content_type})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/gzip"
    written = local / f"{name.split('.')[0]}_seg.nii.gz"
    assert_same_volume(response.content, written)
    assert response.content == written.read_bytes()
    assert np.unique(np.asanyarray(volume_of(response.content).dataobj)).size > 1 or name.startswith("large")


def tar(files: dict[str, bytes], form: int = tarfile.USTAR_FORMAT, kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(content), kind
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_case_of_one_file_a_modality(
    url: str, brats: Path, model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    # The artifact is hashed at each start of a server: Python may not leave its compiled files there.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    inference_here(model_dir / "bundle", brats, tmp_path)
    for folder in sorted(brats.iterdir()):
        # In an order that is not the network's.
        files = {f"some/where/{path.name}": path.read_bytes() for path in sorted(folder.iterdir(), reverse=True)}
        response = invoke(url, tar(files), {"Content-Type": "application/x-tar"})
        assert response.status_code == 200, response.text
        assert_same_volume(response.content, tmp_path / f"{folder.name}_seg.nii.gz")


def one(shape: tuple[int, ...] = (8, 8, 8)) -> bytes:
    return nib.Nifti1Image(np.ones(shape, np.int16), AFFINE).to_bytes()


FOUR = {f"X_{part}.nii": one() for part in ("flair", "t1", "t1ce", "t2")}
BAD_TARS = {
    "three": (tar(dict(list(FOUR.items())[:3])), 400, "3 channels"),
    "one": (tar({"X_t1.nii": one()}), 400, "not one case"),
    "no common name": (tar({f"{i}{name}": body for i, (name, body) in enumerate(FOUR.items())}), 400, "names"),
    "another shape": (tar(FOUR | {"X_t2.nii": one((8, 8, 9))}), 400, "one shape"),
    "four channels each": (tar(dict.fromkeys(FOUR, one((8, 8, 8, 4)))), 400, "single channels"),
    "not NIfTI by name": (tar(FOUR | {"X_t3.py": b"1"}), 400, "mend its names"),
    "garbage inside": (tar(FOUR | {"X_t2.nii": b"garbage"}), 400, "no NIfTI file"),
    "truncated": (tar(FOUR)[:3000], 400, "truncated"),
    "link": (tar(dict.fromkeys(FOUR, b""), kind=tarfile.SYMTYPE), 400, "plain files"),
    "extended header": (tar({"X" * 120 + name: body for name, body in FOUR.items()}, tarfile.PAX_FORMAT), 400, "ustar"),
    "too many": (tar({f"X_{i}.nii": one() for i in range(17)}), 400, "more than the 16"),
    "no size": (tar(FOUR)[:124] + b"-1\0" + tar(FOUR)[127:], 400, "no sound size"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TARS)
def test_bad_tar_is_one_sentence(url: str, log: Path, name: str) -> None:
    body, status, words = BAD_TARS[name]
    response = invoke(url, body, {"Content-Type": "application/octet-stream"})
    assert response.status_code == status, response.text
    assert words in response.json()["error"]
    assert list(temporary(log).iterdir()) == []


def test_volumes_as_json(url: str, cases: Path, local: Path) -> None:
    response = invoke(url, (cases / "small.nii.gz").read_bytes(), NIFTI | {"Accept": "application/json"})
    assert response.headers["content-type"] == "application/json"
    (facts,) = response.json()["files"]
    voxels = np.asanyarray(nib.load(local / "small_seg.nii.gz").dataobj)
    assert facts["shape"] == list(voxels.shape)
    assert facts["labels"] == {
        str(label): {"voxels": int((voxels == label).sum()), "ml": pytest.approx((voxels == label).sum() * 0.012)}
        for label in np.unique(voxels)
        if label
    }


def test_what_batch_transform_asks(url: str) -> None:
    assert httpx.get(f"{url}/execution-parameters").json() == {
        "MaxConcurrentTransforms": 1, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 40,
    }  # fmt: skip


def header(**changes: tuple[str, int, object]) -> bytes:
    """A NIfTI file of 8 x 8 x 8 x 4 voxels with some header fields overwritten: struct code, offset, value."""
    content = bytearray(nib.Nifti1Image(np.ones((8, 8, 8, 4), np.int16), AFFINE).to_bytes())
    for code, offset, value in changes.values():
        struct.pack_into(f"<{code}", content, offset, value)
    return bytes(content)


def bomb() -> bytes:
    """A header of 4096 bytes of voxels, and 2 GB of zeros in 2 MB of gzip."""
    zeros = gzip.compress(bytes(64 << 20), compresslevel=9)
    return gzip.compress(header()[:352]) + zeros * 32


SOUND = header()
BAD = {
    "empty": (b"", 400, "empty"),
    "garbage": (b"\x00garbage" * 100, 400, "no NIfTI file"),
    "gzip of garbage": (gzip.compress(b"garbage" * 100), 400, "no NIfTI file"),
    "truncated": (SOUND[:2000], 400, "fewer voxels"),
    "truncated header": (SOUND[:300], 400, "no NIfTI file"),
    "truncated gzip": (gzip.compress(SOUND)[:60], 400, "truncated gzip"),
    "damaged gzip": (gzip.compress(SOUND, mtime=0)[:-8] + bytes(8), 400, "damaged"),
    "bomb": (bomb(), 400, "inflates to more"),
    "one channel": (nib.Nifti1Image(np.ones((8, 8, 8), np.int16), AFFINE).to_bytes(), 400, "1 channels"),
    "plane": (nib.Nifti1Image(np.ones((8, 8), np.int16), AFFINE).to_bytes(), 400, "a plane"),
    "five axes": (header(ndim=("h", 40, 5)), 400, "2 to 4 axes"),
    "negative axis": (header(x=("h", 42, -8)), 400, "2 to 4 axes"),
    "too many voxels": (header(x=("h", 42, 32767), y=("h", 44, 32767)), 413, "at most 268435456"),
    "complex": (header(datatype=("h", 70, 32), bitpix=("h", 72, 64)), 400, "voxel type"),
    "bits that are not the type's": (header(bitpix=("h", 72, 8)), 400, "voxel type"),
    "voxels of a metre": (header(srow=("f", 280, 1e5)), 413, "litres"),
    "voxels of no size": (header(srow=("f", 280, float("nan"))), 400, "not positive and finite"),
    "voxels before the header": (header(offset=("f", 108, 0.0)), 400, "do not begin behind"),
    "voxels nowhere": (header(offset=("f", 108, float("nan"))), 400, "do not begin behind"),
    "blank": (nib.Nifti1Image(np.full((8, 8, 8, 4), np.nan, np.float32), AFFINE).to_bytes(), 400, "preprocessing"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_body_is_one_sentence(url: str, log: Path, name: str) -> None:
    body, status, words = BAD[name]
    response = invoke(url, body)
    assert response.status_code == status, response.text
    (sentence,) = response.json().values()
    assert words in sentence
    assert "Traceback" not in response.text and "/" not in sentence.replace(".nii/", "")
    assert list(temporary(log).iterdir()) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/csv"}, 415),
        ({"Content-Type": "image/png"}, 400),
        (NIFTI | {"Accept": "text/html"}, 406),
    ],
)
def test_other_types_are_refused(url: str, cases: Path, headers: dict[str, str], status: int) -> None:
    response = invoke(url, (cases / "small.nii.gz").read_bytes(), headers)
    assert response.status_code == status
    assert set(response.json()) == {"error"}


def test_picture_for_a_volume_is_refused(url: str) -> None:
    assert invoke(url, b"\xff\xd8\xff garbage", {"Content-Type": "image/jpeg"}).status_code == 415


@pytest.mark.parametrize("declared", [True, False])
def test_body_above_the_limit(url: str, declared: bool) -> None:
    body = bytes(41 << 20)
    content = body if declared else (body[at : at + (1 << 20)] for at in range(0, len(body), 1 << 20))
    response = httpx.post(f"{url}/invocations", content=content, headers=NIFTI, timeout=60)
    assert response.status_code == 413
    assert "40 MB" in response.json()["error"]


def test_other_paths(url: str) -> None:
    assert httpx.get(f"{url}/docs").status_code == 404
    assert httpx.get(f"{url}/invocations").status_code == 405


def test_queue_is_bounded_and_nobody_gets_another_ones_answer(url: str, cases: Path, local: Path) -> None:
    names = ["large.nii.gz", *["plain.nii", "small.nii.gz"] * 4]
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        responses = list(pool.map(lambda name: invoke(url, (cases / name).read_bytes()), names))
    statuses = [response.status_code for response in responses]
    # One is computed and one may wait; those that are turned away leave room for nobody they displaced.
    assert set(statuses) == {200, 429}
    for name, response in zip(names, responses, strict=True):
        if response.status_code == 200:
            assert response.content == (local / f"{name.split('.')[0]}_seg.nii.gz").read_bytes()
        else:
            assert "queue is full" in response.json()["error"]
    assert ping(url) == 200


def test_log_holds_no_name_of_a_patient(url: str, log: Path, cases: Path) -> None:
    image = nib.load(cases / "plain.nii")
    image.header["descrip"] = b"DOE^JOHN"
    invoke(url, image.to_bytes())
    broken = bytearray(BAD["blank"][0])
    broken[148:156] = b"DOE^JOHN"
    assert invoke(url, bytes(broken)).status_code == 400
    assert "Traceback" in log.read_text()
    assert "DOE" not in log.read_text()


def test_weights_are_read_once(url: str, log: Path, cases: Path) -> None:
    invoke(url, (cases / "plain.nii").read_bytes())
    assert log.read_text().count("scripts.checkpoints: loaded") == 1


def test_nothing_stays_behind(url: str, log: Path, cases: Path) -> None:
    assert invoke(url, (cases / "plain.nii").read_bytes()).status_code == 200
    assert list(temporary(log).iterdir()) == []


@pytest.mark.parametrize("fault", ["changed", "surplus", "absent", "pin", "no manifest", "wrong config"])
def test_does_not_serve(model_dir: Path, tmp_path: Path, fault: str) -> None:
    served = tmp_path / "model"
    shutil.copytree(model_dir, served)
    environment: dict[str, str] = {}
    if fault == "changed":
        script = served / "bundle" / "scripts" / "engine.py"
        script.write_text(script.read_text() + "\nimport os\n")
    elif fault == "surplus":
        (served / "bundle" / "scripts" / "torch.py").write_text("")
    elif fault == "absent":
        (served / "bundle" / "configs" / "inference.json").unlink()
    elif fault == "pin":
        environment["MANIFEST_SHA256"] = "0" * 64
    elif fault == "no manifest":
        (served / "manifest.json").unlink()
    else:
        environment["BUNDLE_CONFIG"] = "configs/nowhere.json"
    log = tmp_path / "log.txt"
    with started(served, log, **environment) as (process, url):
        assert process.wait(60) == 1
    (sentence,) = [line for line in log.read_text().splitlines() if " ERROR " in line]
    assert {
        "changed": "engine.py is not the file", "surplus": "torch.py", "absent": "inference.json",
        "pin": "MANIFEST_SHA256", "no manifest": "holds no bundle/", "wrong config": "set BUNDLE_CONFIG",
    }[fault] in sentence  # fmt: skip


def test_ping_says_503_before_the_model_is_warm_and_invocations_wait(start: Start) -> None:
    assert start.pings[0] == 503 and start.pings[-1] == 200
    assert start.early.status_code == 503
    assert "not loaded yet" in start.early.json()["error"]
