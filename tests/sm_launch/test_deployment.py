"""What a plan deploys: the packages of the serving image, and the cases of a batch job."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from programs import IMAGE
from specs import plan_of, request_of

TO_SERVE = {"instance_type": "ml.g5.xlarge", "model": "s3://b/model.tar.gz"}


def test_versions_that_the_serving_image_overrides_are_noted(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.json").write_text("{}")
    versions = {"nibabel": "5.4.2", "pytorch-ignite": "0.4.11", "itk": "5.4.0"}
    told = {"monai_version": "1.4.0", "pytorch_version": "2.4.0", "required_packages_version": versions}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(told))
    wanted = {
        "image": {"role": "arn:aws:iam::123456789012:role/Build"},
        "deploy": TO_SERVE,
    }
    plan = plan_of(train=None, bundle=str(tmp_path), **wanted)
    (note,) = [note for note in plan.notes if note.startswith("image: ")]
    assert "asks for monai==1.4.0, pytorch-ignite==0.4.11, torch==2.4.0, and the serving image has monai==1." in note
    (archive,) = [upload.data for upload in plan.uploads if upload.uri.endswith("/image/source.zip")]
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        assert source.read("bundle-requirements.txt").decode() == "itk==5.4.0\n"
    assert not [note for note in plan_of(train=None, **wanted).notes if note.startswith("image: ")]


@pytest.mark.parametrize(
    "given, uri",
    [
        ("data/imagesTs", "s3://brats-bucket/Task01/imagesTs/"),
        ("s3://b/imagesTs", "s3://b/imagesTs/"),
        ("s3://b/imagesTs/", "s3://b/imagesTs/"),
        ("s3://b/imagesTs/a.nii.gz", "s3://b/imagesTs/a.nii.gz"),
    ],
)
def test_a_batch_job_reads_no_folder_whose_name_only_begins_alike(given: str, uri: str) -> None:
    deploy = {**TO_SERVE, "mode": "batch", "image": IMAGE}
    request = request_of(plan_of(train=None, deploy={**deploy, "input": given}), "CreateTransformJob")
    assert request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] == uri
