"""The Price List API: SageMaker's prices of a handful of instance types, in the form that the service gives them."""

from __future__ import annotations

import json
from typing import Any

from emulator.world import World, operation

# USD an hour in us-east-1: made up, so that a test sees whether a price came from here.
PRICES = {"ml.m5.xlarge": 0.2301, "ml.g5.2xlarge": 1.5151, "ml.g5.12xlarge": 7.0901, "ml.p4d.24xlarge": 25.2501}
# What the instance is used for, as the attribute component says it and as usagetype does.
COMPONENTS = {"Training": "Train", "Processing": "Processing", "Hosting": "Host", "Batch Transform": "Tsform"}


def _product(name: str, component: str, usage: str, region: str, price: float) -> dict[str, Any]:
    sku = f"{name}-{component}".upper().replace(".", "").replace(" ", "")
    return {
        "product": {
            "productFamily": "ML Instance",
            "sku": sku,
            "attributes": {
                "servicecode": "AmazonSageMaker",
                "regionCode": region,
                "instanceName": name,
                "instanceType": f"{name}-{component}",
                "component": component,
                "usagetype": f"USE1-{usage}:{name}",
            },
        },
        "serviceCode": "AmazonSageMaker",
        "terms": {
            "OnDemand": {
                f"{sku}.JRTCKXETXF": {
                    "priceDimensions": {
                        f"{sku}.JRTCKXETXF.6YS6EN2CT7": {"unit": "Hrs", "pricePerUnit": {"USD": f"{price:.10f}"}}
                    },
                    "sku": sku,
                    "effectiveDate": "2026-11-01T00:00:00Z",
                }
            }
        },
        "publicationDate": "2026-11-20T00:00:00Z",
    }


def _field(product: dict[str, Any], name: str) -> str | None:
    return product.get(name) if name == "productFamily" else product["attributes"].get(name)


@operation("pricing", "GetProducts")
def get_products(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Filters of type TERM_MATCH on the product's attributes; the list's entries are JSON texts."""
    products = [
        _product(name, component, usage, world.region, price)
        for name, price in PRICES.items()
        for component, usage in COMPONENTS.items()
    ]
    for wanted in request.get("Filters", ()):
        products = [each for each in products if _field(each["product"], wanted["Field"]) == wanted["Value"]]
    first = int(request.get("NextToken", "0"))
    last = first + request.get("MaxResults", 100)
    return {
        "FormatVersion": "aws_v1",
        "PriceList": [json.dumps(each) for each in products[first:last]],
        "NextToken": str(last) if last < len(products) else None,
    }
