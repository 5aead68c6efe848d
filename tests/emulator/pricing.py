"""The Price List API: SageMaker's prices of a handful of instance types, in the form that the service gives them."""

from __future__ import annotations

import json
from typing import Any

from emulator.world import World, operation

# USD an hour in us-east-1: made up, so that a test sees whether a price came from here.
PRICES = {"ml.m5.xlarge": 0.2301, "ml.g5.2xlarge": 1.5151, "ml.g5.12xlarge": 7.0901, "ml.p4d.24xlarge": 25.2501}
COMPONENTS = ("Training", "Processing", "Hosting", "Batch Transform")


def _product(name: str, component: str, region: str, price: float) -> dict[str, Any]:
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
                "platoinstancename": name,
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


@operation("pricing", "GetProducts")
def get_products(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Filters of type TERM_MATCH on the product's attributes; the list's entries are JSON texts."""
    products = [
        _product(name, component, world.region, price) for name, price in PRICES.items() for component in COMPONENTS
    ]
    for wanted in request.get("Filters", ()):
        field = "productFamily" if wanted["Field"] == "productFamily" else wanted["Field"]
        products = [
            each
            for each in products
            if ({**each["product"]["attributes"], "productFamily": each["product"]["productFamily"]}).get(field)
            == wanted["Value"]
        ]
    first = int(request.get("NextToken", "0"))
    last = first + request.get("MaxResults", 100)
    return {
        "FormatVersion": "aws_v1",
        "PriceList": [json.dumps(each) for each in products[first:last]],
        "NextToken": str(last) if last < len(products) else None,
    }
