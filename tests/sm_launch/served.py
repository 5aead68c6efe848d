"""A trained model as an artifact, a server around it, and local inference to hold its answers against."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import pytest
from forked import LEAN, run_forked
from tiny import TINY

from sm_launch.container.artifact import assemble

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundle"
NIFTI = {"Content-Type": "application/x-nifti"}


def pack(bundle: Path, model_dir: Path) -> Path:
    """A bundle with its weights as a model artifact, as a training leaves it."""
    unwanted = ("!runs/*", "!cache/*", "!predictions/*")
    assemble(bundle, bundle / "models", model_dir, ("*", *unwanted), {})
    return model_dir


@pytest.fixture(scope="session")
def model_dir(tiny_decathlon: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's bundle, trained for an epoch on the tiny data, as a model artifact. Do not write to it."""
    from workflow import run

    work = tmp_path_factory.mktemp("trained")
    bundle = work / "source"
    shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("__pycache__", "runs", "cache", "models"))
    run(work, "train.json", dataset_dir=str(tiny_decathlon), **TINY)
    (bundle / "models").mkdir()
    for name in ("model.pt", "model.json"):
        shutil.copy(work / "models" / name, bundle / "models")
    return pack(bundle, work / "artifact")


def local_inference(bundle: Path, output_dir: Path, *arguments: str) -> None:
    """What a user would run: ``python -m monai.bundle run`` with the bundle's inference config."""
    command = ["run", "--config_file", "configs/inference.json", "--output_dir", str(output_dir), *arguments]
    done = run_forked("monai.bundle", command, bundle, {"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr[-2000:]


def inference_here(bundle: Path, dataset_dir: Path, output_dir: Path) -> None:
    """The same of this project's bundle, in this process."""
    from monai.bundle import ConfigWorkflow

    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"), logging_file=False, workflow_type="infer",
        bundle_root=str(bundle), dataset_dir=str(dataset_dir), output_dir=str(output_dir),
    )  # fmt: skip
    workflow.initialize()
    workflow.run()


@contextmanager
def serving(model_dir: Path, log: Path, **environment: str) -> Iterator[str]:
    """A server as a container starts it, ready; yields its address."""
    with started(model_dir, log, **environment) as (process, url):
        deadline = time.monotonic() + 120
        while ping(url) != 200:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)
        yield url


@contextmanager
def started(model_dir: Path, log: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server that may not be ready; yields its process and address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {
        "MODEL_DIR": str(model_dir), "BIND_HOST": "127.0.0.1", "SAGEMAKER_BIND_TO_PORT": str(port),
        "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary(log)), **LEAN,
    } | environment  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sm_launch.container.serve"], cwd=ROOT, env=env, stdout=output, stderr=output
        )
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def temporary(log: Path) -> Path:
    """The server's own folder for temporary files."""
    folder = log.with_suffix(".tmp")
    folder.mkdir(exist_ok=True)
    return folder


def ping(url: str) -> int:
    """The status of GET /ping, 0 while nothing listens."""
    try:
        return httpx.get(f"{url}/ping").status_code
    except httpx.ConnectError:
        return 0


def invoke(url: str, body: bytes, headers: Mapping[str, str] = NIFTI) -> httpx.Response:
    """One invocation."""
    return httpx.post(f"{url}/invocations", content=body, headers=dict(headers), timeout=180)


def volume_of(content: bytes) -> nib.Nifti1Image:
    """The NIfTI image in an answer."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)


def assert_same_volume(content: bytes, written: Path) -> None:
    """Hold an answer against a file: array, type, affine."""
    served, local = volume_of(content), nib.load(written)
    assert served.get_data_dtype() == local.get_data_dtype()
    assert np.array_equal(served.affine, local.affine)
    assert np.array_equal(np.asanyarray(served.dataobj), np.asanyarray(local.dataobj))
