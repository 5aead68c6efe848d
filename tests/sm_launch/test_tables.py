"""The dated tables: complete against AWS's API model, and what a user reads who mistypes."""

from __future__ import annotations

import re
from datetime import date

import pytest

from sm_launch.api_model import service_model
from sm_launch.errors import LaunchError
from sm_launch.images import Image, describe, image_uri, partition
from sm_launch.instances import instance, known, smddp_types
from sm_launch.table import FOLDER, dated, nearest, table

TABLES = sorted(path.stem for path in FOLDER.glob("*.json"))
FAMILIES = re.compile(
    r"ml\.(g4dn|g5|g6|g6e|g7e|p3|p3dn|p4d|p4de|p5|p5e|p5en|p6[a-z0-9-]*|m5|m6i|m7i|c5|c6i|c7i|r5|t3)\."
)


@pytest.mark.parametrize("name", TABLES)
def test_each_table_says_when_and_from_where(name: str) -> None:
    assert date.fromisoformat(table(name)["as_of"]) <= date(2026, 12, 31)
    assert len(table(name)["source"]) > 20
    assert dated(name).startswith(table(name)["as_of"])


def test_every_type_of_the_families_that_the_api_has_is_there_and_no_other() -> None:
    shapes = [f"{use}InstanceType" for use in ("Training", "Processing", "ProductionVariant", "Transform")]
    types = {name for shape in shapes for name in service_model("sagemaker").shape_for(shape).enum}
    offered = {name for name in types if FAMILIES.match(name)}
    assert set(table("instances")["types"]) == offered


def test_what_a_type_is() -> None:
    one = instance("ml.g5.12xlarge")
    assert (one.vcpu, one.memory_gib, one.gpus, one.gpu, one.gpu_memory_gib) == (48, 192, 4, "A10G", 24)
    assert (one.nvme_gb, one.efa, one.smddp) == (3800, True, False)
    assert instance("ml.m5.xlarge").gpus == 0
    assert smddp_types() == ("ml.p3dn.24xlarge", "ml.p4d.24xlarge", "ml.p4de.24xlarge")


def test_unknown_type_names_the_nearest() -> None:
    with pytest.raises(LaunchError) as raised:
        instance("ml.g5.3xlarge")
    assert str(raised.value) == (
        "Instance type 'ml.g5.3xlarge' is unknown to the table of 2026-11-21; did you mean ml.g5.xlarge?"
    )
    assert known("ml.g5.xlarge")
    assert not known("ml.g5.3xlarge")


def test_priced_types_exist() -> None:
    for row in table("prices")["regions"].values():
        assert set(row["instance_hour"]) <= set(table("instances")["types"])
        assert all(price > 0 for price in row["instance_hour"].values())


@pytest.mark.parametrize(
    ("region", "kind", "version", "uri"),
    [
        (
            "us-east-1",
            "gpu",
            None,
            "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker",
        ),
        (
            "eu-central-1",
            "cpu",
            "2.13",
            "763104351884.dkr.ecr.eu-central-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker",
        ),
        (
            "cn-north-1",
            "gpu",
            None,
            "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/pytorch:2.13-cu133-amzn2023-sagemaker",
        ),
        (
            "us-gov-west-1",
            "gpu",
            None,
            "442386744353.dkr.ecr.us-gov-west-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker",
        ),
        (
            "us-west-2",
            "gpu",
            "2.4.1",
            "658645717510.dkr.ecr.us-west-2.amazonaws.com/smdistributed-modelparallel:2.4.1-gpu-py311-cu121",
        ),
        (
            "us-east-1",
            "gpu",
            "2.3.0",
            "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.3.0-gpu-py311-cu121-ubuntu20.04-sagemaker",
        ),
    ],
)
def test_image_uris(region: str, kind: str, version: str | None, uri: str) -> None:
    assert image_uri(region, kind, version) == uri


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("us-east-9", "gpu"), "Region 'us-east-9' has no image pytorch:2.13-cu133-amzn2023-sagemaker; did you mean"),
        (("us-east-1", "cpu", "2.4.1"), "There is no cpu image of PyTorch 2.4.1; take an instance type with a GPU"),
        (("us-east-1", "gpu", "2.31"), "Image version '2.31' is unknown to the table of 2026-11-21; did you mean 2.13"),
        (("af-south-1", "gpu", "2.4.1"), "Region 'af-south-1' has no image smdistributed-modelparallel:2.4.1"),
    ],
)
def test_image_that_there_is_not(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(LaunchError, match=re.escape(sentence)):
        image_uri(*arguments)


def test_what_is_in_an_image() -> None:
    smddp = describe(image_uri("us-west-2", "gpu", "2.4.1"))
    assert smddp == Image("2.4.1", "3.11", "2.5.0", "12.1", "past")
    assert describe("763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6.0-gpu-py312") == Image("2.6.0")
    assert describe("123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:2.13") is None


def test_partitions() -> None:
    assert [partition(region)[0] for region in ("us-east-1", "cn-north-1", "us-gov-east-1", "eusc-de-east-1")] == [
        "aws",
        "aws-cn",
        "aws-us-gov",
        "aws-eusc",
    ]


def test_partitions_are_botocores() -> None:
    import botocore.session

    session = botocore.session.get_session()
    domains = {
        name: data["dnsSuffix"]
        for one in session.get_component("data_loader").load_data("endpoints")["partitions"]
        for name, data in [(one["partition"], one)]
    }
    for name, domain in table("images")["partitions"].values():
        if name in domains:
            assert domain == domains[name]


def test_nearest_always_answers() -> None:
    assert nearest("zzz", ["a", "b"]) in ("a", "b")
    assert nearest("filee", ["Pipe", "File"]) == "File"


def test_images_are_those_of_the_sdk() -> None:
    """Only where the SDK is installed: it is an extra that nothing here needs."""
    uris = pytest.importorskip("sagemaker.core.image_uris", reason="the sagemaker SDK isn't installed")
    for region in table("images")["registries"]["dlc"]:
        ours = image_uri(region, "gpu")
        theirs = uris.retrieve(
            "pytorch-amzn2023", region, version="2.13", instance_type="ml.g5.xlarge", image_scope="training"
        )
        assert ours == theirs
