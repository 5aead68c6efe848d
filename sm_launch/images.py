"""AWS's PyTorch containers: where they lie in each region, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.table import nearest, table

CPU, GPU = "cpu", "gpu"
# pytorch-training and pytorch are AWS's repositories; a user's own image says nothing that can be relied on.
_AWS_TAG = re.compile(r"/(?:pytorch|pytorch-training|smdistributed-modelparallel):(\d+\.\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Image:
    """What an image holds.

    Attributes:
        torch: PyTorch's version.
        python: Python's version; empty where the table doesn't know the image.
        smddp: version of SageMaker's data parallel library; empty without it.
        cuda: CUDA's version; empty where unknown.
        end_of_patch: last day of AWS's patches as YYYY-MM-DD, or past; empty where unknown.
    """

    torch: str
    python: str = ""
    smddp: str = ""
    cuda: str = ""
    end_of_patch: str = ""


def partition(region: str) -> tuple[str, str]:
    """AWS partition and domain of ``region``: ("aws", "amazonaws.com")."""
    for prefix, (name, domain) in table("images")["partitions"].items():
        if region.startswith(prefix):
            return name, domain
    raise AssertionError("the table's last prefix is empty")


def image_uri(region: str, kind: str, version: str | None = None) -> str:
    """URI of AWS's PyTorch training image in ``region``.

    Args:
        region: AWS region.
        kind: cpu or gpu.
        version: a key of the table's images, by PyTorch version; None for the default.

    Raises:
        LaunchError: unknown version, no such kind of it, or a region without that image.
    """
    content = table("images")
    version = version or content["default"]
    row = _row(content, version)
    if kind not in row:
        raise LaunchError(
            f"There is no {kind} image of PyTorch {version}; take an instance type with a GPU, "
            f"or the default image {content['default']}."
        )
    accounts = content["registries"][row["registry"]]
    if region not in accounts:
        raise LaunchError(
            f"Region {region!r} has no image {row['repository']}:{row[kind]}; did you mean {nearest(region, accounts)}?"
        )
    return f"{accounts[region]}.dkr.ecr.{region}.{partition(region)[1]}/{row['repository']}:{row[kind]}"


def describe(uri: str) -> Image | None:
    """What the table knows of an image, by repository and tag; None of an image that isn't AWS's."""
    found = _AWS_TAG.search(uri)
    if not found:
        return None
    repository, tag = uri.rsplit("/", 1)[1].split(":", 1)
    for row in table("images")["images"].values():
        if row["repository"] == repository and tag in (row.get(CPU), row.get(GPU)):
            keys = ("torch", "python", "smddp", "cuda", "end_of_patch")
            return Image(**{key: row[key] for key in keys if key in row})
    return Image(torch=found[1])


def _row(content: Mapping[str, Any], version: str) -> Mapping[str, str]:
    if version not in content["images"]:
        raise LaunchError(
            f"Image version {version!r} is unknown to the table of {content['as_of']}; did you mean "
            f"{nearest(version, content['images'])}, or give the image's whole URI?"
        )
    return content["images"][version]
