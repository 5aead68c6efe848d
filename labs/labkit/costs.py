"""What cloud machines cost, with the arithmetic written out."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.errors import InputError

from sm_launch.prices import TablePrices
from sm_launch.table import table
from sm_launch.views import TRAINING

from .tables import Table

REGION = "us-east-1"
# Of an answer in dollars: cents may be rounded.
TOLERANCE = 0.01


def price(instance_type: str, region: str = REGION) -> float:
    """USD for an hour of a SageMaker machine, from the launcher's dated table.

    Raises:
        InputError: the table has no price of it.
    """
    found = TablePrices(region).instance_hour(instance_type, TRAINING)
    if found is None:
        raise InputError(
            f"{instance_type}: no price in {region} is known; look it up on aws.amazon.com/sagemaker/pricing."
        )
    return found


def priced_region(region: str, *instance_types: str) -> str:
    """The region itself, or ``REGION`` where the table has no prices of it, or lacks one of these machines'."""
    prices = TablePrices(region)
    there = all(prices.instance_hour(name, TRAINING) is not None for name in instance_types)
    return region if there and region in table("prices")["regions"] else REGION


def borrowed(region: str, priced: str) -> str:
    """A sentence, to be added to others, that says so where the prices shown are another region's; else nothing."""
    return "" if priced == region else f" Prices are those of {priced}: the table has none for {region}, or not all."


def bill(lines: Sequence[tuple[str, int, float]], region: str = REGION) -> Table:
    """Machines x hours x price, and the sum.

    Args:
        lines: instance type, number of machines, hours each.
        region: whose prices.

    Raises:
        InputError: a price is unknown.
    """
    amounts = [count * hours * price(name, region) for name, count, hours in lines]
    rows = [
        [f"{count} x {name}", f"{count} x {hours:.3g} h x ${price(name, region):.3f}/h", f"${amount:,.2f}"]
        for (name, count, hours), amount in zip(lines, amounts, strict=True)
    ]
    rows.append(["sum", "", f"${sum(amounts):,.2f}"])
    caption = f"{region}, prices of {table('prices')['as_of']} (sm_launch/tables/prices.json), not read from AWS"
    return Table(["machines", "arithmetic", "USD"], rows, caption)
