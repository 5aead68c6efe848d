"""Cost as a range, what bills while idle, and prices from the table or the Price List API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import launch_plans as lp
import pytest
from json_service import Refusal, served

from sm_launch.cost import Estimate, Hours, estimate, render
from sm_launch.errors import LaunchError
from sm_launch.prices import LivePrices, TablePrices
from sm_launch.steps import Copy, Plan, Source, Step, Upload

PRICE = 1.515  # ml.g5.2xlarge in us-east-1


def gpu_training(**more: object) -> Step:
    resources = {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 100} | more
    return lp.changed(lp.training(), lp.put("ResourceConfig", resources))


def line(estimate: Estimate, name: str) -> Any:
    return next(one for one in estimate.lines if one.name == name)


def test_training_goes_from_its_expected_hours_to_its_time_limit() -> None:
    found = estimate(lp.plan(gpu_training()), {"demo-1a2b-train": Hours(0.5, 1.0)})
    train = line(found, "demo-1a2b-train")
    # Local NVMe disks are part of the price; the limit is two hours.
    assert train.low == pytest.approx(0.5 * 2 * PRICE)
    assert train.high == pytest.approx(2 * 2 * PRICE)
    assert train.idle_per_day == 0
    assert found.low == pytest.approx(train.low)


def test_without_hours_the_note_says_that_it_is_the_ceiling() -> None:
    train = line(estimate(lp.plan(gpu_training())), "demo-1a2b-train")
    assert (train.low, train.high) == (0, pytest.approx(4 * PRICE))
    assert train.note == "no hours are expected, so the figure is the ceiling of its time limit"


def test_volume_of_a_machine_without_local_disks_is_paid() -> None:
    train = line(estimate(lp.plan(lp.training())), "demo-1a2b-train")
    assert train.high == pytest.approx(2 * 2 * (0.816 + 50 * 0.14 / 730))


def test_a_volume_of_unknown_price_is_said_to_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TablePrices, "volume_gb_month", lambda self: None)
    train = line(estimate(lp.plan(lp.training())), "demo-1a2b-train")
    assert train.high == pytest.approx(2 * 2 * 0.816)
    assert train.note.endswith("; without its EBS volume of 50 GB, whose price in us-east-1 is unknown")
    assert line(estimate(lp.plan(gpu_training())), "demo-1a2b-train").high == pytest.approx(4 * PRICE)


def test_spot_is_marked_as_an_assumption() -> None:
    step = lp.changed(gpu_training(), lp.put("EnableManagedSpotTraining", True))
    train = line(estimate(lp.plan(step), {step.name: Hours(1.0, 1.0)}), step.name)
    assert train.low == pytest.approx(0.3 * 2 * PRICE)
    assert train.high == pytest.approx(0.4 * 4 * PRICE)
    assert train.note == "spot is assumed to cost 30% to 40% of on-demand, which AWS doesn't promise"


def test_warm_pool_adds_what_it_may_bill() -> None:
    train = line(estimate(lp.plan(gpu_training(KeepAlivePeriodInSeconds=1800))), "demo-1a2b-train")
    assert train.high == pytest.approx((2 + 0.5) * 2 * PRICE)
    assert "the warm pool bills 1.51 more unless" in train.note


def test_tuning_counts_its_trials() -> None:
    tune = line(estimate(lp.plan(lp.tuning()), {"demo-1a2b-tune": Hours(0.25, 0.25)}), "demo-1a2b-tune")
    hourly = 2 * (0.816 + 50 * 0.14 / 730)
    assert tune.low == pytest.approx(8 * 0.25 * hourly)
    assert tune.high == pytest.approx(8 * 2 * hourly)


def test_definitions_of_one_tuning_share_its_trials() -> None:
    step = lp.tuning_of_several()
    both = lp.changed(
        step, lambda request: request["TrainingJobDefinitions"].append(dict(request["TrainingJobDefinitions"][0]))
    )
    assert estimate(lp.plan(both)).high == pytest.approx(estimate(lp.plan(step)).high)


def test_endpoint_bills_each_day_and_async_at_zero_does_not() -> None:
    config = lp.changed(lp.endpoint_config(), lp.put("AsyncInferenceConfig", None))
    realtime = line(estimate(lp.plan(config)), config.name)
    assert realtime.idle_per_day == pytest.approx(24 * 0.461)
    assert realtime.note == "0.46 an hour until it is deleted"
    asleep = line(estimate(lp.plan(lp.endpoint_config(), *lp.scaling())), config.name)
    assert asleep.idle_per_day == 0


def test_file_system_bills_each_day() -> None:
    lustre = line(estimate(lp.plan(lp.file_system())), "demo-1a2b-lustre")
    assert lustre.idle_per_day == pytest.approx(1200 * 0.145 / 730 * 24)


def test_storage_of_the_uploads_bills_each_day() -> None:
    files = (Upload(f"{lp.ROOT}/code/x", 40_000_000_000, "0" * 64),)
    copies = (Copy(Path("."), f"{lp.ROOT}/data/", (Source("a", 50_000_000_000, 0), Source("b", 10_000_000_000, 0))),)
    plan = replace(lp.plan(uploads=files), copies=copies)
    assert estimate(plan).idle_per_day == pytest.approx(100 * 0.023 / 730 * 24)


def test_transform_has_no_ceiling() -> None:
    found = estimate(lp.plan(lp.transform()))
    assert found.high is None
    assert line(found, "demo-1a2b-batch").note == "a transform job has no time limit; it costs 0.46 an hour"


def test_unknown_price_is_said_and_not_invented() -> None:
    found = estimate(lp.plan(gpu_training(InstanceType="ml.p6-b200.48xlarge")))
    train = line(found, "demo-1a2b-train")
    assert (train.low, train.high, found.high) == (None, None, None)
    assert train.note == "the price of ml.p6-b200.48xlarge in us-east-1 is unknown; ask with --live-prices"
    lustre = lp.changed(lp.file_system(), lp.put("LustreConfiguration.PerUnitStorageThroughput", 1000))
    assert estimate(lp.plan(lustre)).idle_per_day is None


def test_region_without_prices_is_unknown() -> None:
    plan = Plan(lp.RUN, "eu-west-1", lp.BUCKET, "standard", steps=(gpu_training(),))
    assert estimate(plan).high is None
    assert estimate(plan).idle_per_day is None


def test_table_as_a_user_sees_it() -> None:
    plan = lp.plan(gpu_training(), lp.file_system(), uploads=())
    shown = render(estimate(plan, {"demo-1a2b-train": Hours(0.5, 1.0)}))
    assert shown.splitlines()[:5] == [
        "step              what                      USD           idle USD/day",
        "demo-1a2b-train   2 x ml.g5.2xlarge         1.51 to 6.06  0.00",
        "demo-1a2b-lustre  FSx for Lustre, 1200 GiB  0.00          5.72",
        "demo-bucket       S3, 0.00 GB of uploads    0.00          0.00",
        "total                                       1.51 to 6.06  5.72",
    ]
    assert "demo-1a2b-lustre: bills until it is deleted" in shown
    assert "Prices: 2026-09-01, " in shown.splitlines()[-1]


def product(usage: str, name: str, usd: str, unit: str = "Hrs") -> str:
    """One entry of a PriceList, in the Price List API's own shape."""
    return json.dumps(
        {
            "product": {
                "productFamily": "ML Instance",
                "sku": "2ABCDEFGHIJKLMNO",
                "attributes": {
                    "servicecode": "AmazonSageMaker",
                    "servicename": "Amazon SageMaker",
                    "regionCode": "us-east-1",
                    "location": "US East (N. Virginia)",
                    "locationType": "AWS Region",
                    "instanceName": name,
                    "usagetype": usage,
                    "operation": "RunInstance",
                    "vCpu": "8",
                    "memory": "32 GiB",
                },
            },
            "serviceCode": "AmazonSageMaker",
            "terms": {
                "OnDemand": {
                    "2ABCDEFGHIJKLMNO.JRTCKXETXF": {
                        "sku": "2ABCDEFGHIJKLMNO",
                        "offerTermCode": "JRTCKXETXF",
                        "effectiveDate": "2026-11-01T00:00:00Z",
                        "termAttributes": {},
                        "priceDimensions": {
                            "2ABCDEFGHIJKLMNO.JRTCKXETXF.6YS6EN2CT7": {
                                "unit": unit,
                                "beginRange": "0",
                                "endRange": "Inf",
                                "description": f"${usd} per hour",
                                "appliesTo": [],
                                "pricePerUnit": {"USD": usd},
                            }
                        },
                    }
                }
            },
            "version": "20261101000000",
            "publicationDate": "2026-11-01T00:00:00Z",
        }
    )


def test_live_prices_are_read_by_use_and_over_pages() -> None:
    name = "ml.g5.2xlarge"
    pages = [
        [product(f"USE1-Notebk:{name}", name, "9.0"), product(f"USE1-Train:{name}", name, "1.6000000000")],
        [
            product(f"USE1-Host:{name}", name, "1.7"),
            product(f"USE1-Processing:{name}", name, "1.8"),
            product(f"USE1-Tsform:{name}", name, "1.9", unit="Seconds"),
        ],
    ]
    asked = []

    def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(request)
        place = int(request.get("NextToken", "0"))
        return {"PriceList": pages[place], "FormatVersion": "aws_v1"} | ({"NextToken": "1"} if place == 0 else {})

    with served("pricing", {"GetProducts": answer}) as client:
        prices = LivePrices(client, "us-east-1")
        assert [prices.instance_hour(name, use) for use in ("training", "endpoint", "processing")] == [1.6, 1.7, 1.8]
        # Billed by another unit than hours, so not taken for an hour's price.
        assert prices.instance_hour(name, "transform") is None
        found = estimate(lp.plan(gpu_training()), prices=prices)
    assert line(found, "demo-1a2b-train").high == pytest.approx(4 * 1.6)
    assert found.source.startswith("AWS Price List API, just now")
    assert len(asked) == 2
    assert {one["Field"]: one["Value"] for one in asked[0]["Filters"]} == {
        "productFamily": "ML Instance",
        "regionCode": "us-east-1",
        "instanceName": name,
    }


def test_refused_live_prices_are_one_sentence() -> None:
    def refuse(request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise Refusal("AccessDeniedException")

    with (
        served("pricing", {"GetProducts": refuse}) as client,
        pytest.raises(LaunchError, match=r"allow pricing:GetProducts, or leave out --live-prices\.$"),
    ):
        LivePrices(client, "us-east-1").instance_hour("ml.g5.2xlarge", "training")


def test_storage_prices_stay_the_tables() -> None:
    with served("pricing", {}) as client:
        live, dated = LivePrices(client, "us-west-2"), TablePrices("us-west-2")
        assert live.lustre_gb_month("SCRATCH_2", None) == dated.lustre_gb_month("SCRATCH_2", None) == 0.14
        assert (live.volume_gb_month(), live.s3_gb_month()) == (dated.volume_gb_month(), dated.s3_gb_month())
