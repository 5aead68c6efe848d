"""Prices in USD: from the dated table, or from AWS's Price List API when asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sm_launch import aws
from sm_launch.errors import LaunchError
from sm_launch.table import dated, table
from sm_launch.views import ENDPOINT, PROCESSING, TRAINING, TRANSFORM

if TYPE_CHECKING:
    from botocore.client import BaseClient

HOURS_PER_MONTH = 730
# How a usage type names what an instance is used for, after the region's own prefix: USE1-Train:ml.g5.2xlarge.
_USAGE = {TRAINING: "Train", PROCESSING: "Processing", TRANSFORM: "Tsform", ENDPOINT: "Host"}
_INSTANCES = "ML Instance"


class Prices(Protocol):
    """Where prices come from; each is None where it is unknown."""

    source: str

    def instance_hour(self, instance_type: str, use: str) -> float | None:
        """USD for an hour of one machine used for training, processing, transform or endpoint."""

    def lustre_gb_month(self, deployment: str, throughput: int | None) -> float | None:
        """USD for a GB of FSx for Lustre a month."""

    def volume_gb_month(self) -> float | None:
        """USD for a GB of a machine's EBS volume a month."""

    def s3_gb_month(self) -> float | None:
        """USD for a GB in S3 Standard a month, the first 50 TB."""


@dataclass(frozen=True)
class TablePrices:
    """Prices of tables/prices.json for one region; of a region that it lacks, all are unknown."""

    region: str

    @property
    def source(self) -> str:
        """Date and source of the table."""
        return dated("prices")

    def instance_hour(self, instance_type: str, use: str) -> float | None:
        """See Prices; the table has one price for all uses."""
        return self._rows().get("instance_hour", {}).get(instance_type)

    def lustre_gb_month(self, deployment: str, throughput: int | None) -> float | None:
        """See Prices."""
        key = deployment if throughput is None else f"{deployment}-{throughput}"
        return self._rows().get("fsx_gb_month", {}).get(key)

    def volume_gb_month(self) -> float | None:
        """See Prices."""
        return self._rows().get("volume_gb_month")

    def s3_gb_month(self) -> float | None:
        """See Prices."""
        return self._rows().get("s3_gb_month")

    def _rows(self) -> Mapping[str, Any]:
        return table("prices")["regions"].get(self.region, {})


class LivePrices:
    """Instance prices from the Price List API, the rest from the table; untested on AWS.

    Args:
        client: boto3's pricing client, in us-east-1, eu-central-1 or ap-south-1, where alone that API is (docs, "AWS
            Price List API endpoints"); needs pricing:GetProducts.
        region: the jobs' region, not the client's.
    """

    def __init__(self, client: BaseClient, region: str) -> None:
        self.client = client
        self.source = "AWS Price List API, just now; storage: " + TablePrices(region).source
        self._table = TablePrices(region)
        self._region = region
        self._seen: dict[str, dict[str, float]] = {}

    def instance_hour(self, instance_type: str, use: str) -> float | None:
        """See Prices.

        Raises:
            LaunchError: AWS refuses the question.
        """
        if instance_type not in self._seen:
            self._seen[instance_type] = self._ask(instance_type)
        return self._seen[instance_type].get(use)

    def lustre_gb_month(self, deployment: str, throughput: int | None) -> float | None:
        """See Prices."""
        return self._table.lustre_gb_month(deployment, throughput)

    def volume_gb_month(self) -> float | None:
        """See Prices."""
        return self._table.volume_gb_month()

    def s3_gb_month(self) -> float | None:
        """See Prices."""
        return self._table.s3_gb_month()

    def _ask(self, instance_type: str) -> dict[str, float]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        filters = {"productFamily": _INSTANCES, "regionCode": self._region, "instanceName": instance_type}
        pages = self.client.get_paginator("get_products").paginate(
            ServiceCode="AmazonSageMaker",
            FormatVersion="aws_v1",
            Filters=[{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in filters.items()],
        )
        try:
            products = [json.loads(product) for page in pages for product in page["PriceList"]]
        except NoCredentialsError as error:
            raise LaunchError(f"could not ask for prices: {aws.NO_CREDENTIALS}") from error
        except (ClientError, BotoCoreError) as error:
            raise LaunchError(
                f"The Price List API doesn't answer ({error}); allow pricing:GetProducts, or leave out --live-prices."
            ) from error
        prices: dict[str, float] = {}
        for product in products:
            use = _use(product, instance_type)
            hourly = _hourly(product)
            if use and hourly is not None:
                prices[use] = hourly
        return prices


def _use(product: Mapping[str, Any], instance_type: str) -> str:
    """What a product's instance is used for; empty for notebooks and whatever else there is."""
    usage = product.get("product", {}).get("attributes", {}).get("usagetype", "")
    before, _, name = usage.partition(":")
    # The oldest region's usage types may lack the prefix.
    word = before.rsplit("-", 1)[-1]
    return next((use for use, expected in _USAGE.items() if word == expected and name == instance_type), "")


def _hourly(product: Mapping[str, Any]) -> float | None:
    """The on-demand price of a product in USD an hour; None where it is billed otherwise."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            amount = dimension.get("pricePerUnit", {}).get("USD")
            if amount is not None and dimension.get("unit") in ("Hrs", "Hours", "hours"):
                return float(amount)
    return None
