"""The tables of a run's report, from what the run's JSON files hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.labels import REGION_NAMES
from scripts.metrics import HD95_EMPTY_MM
from scripts.records import plain_knobs
from scripts.report_html import number, table

Row = Mapping[str, Any]


def mean_dice(row: Row) -> float:
    """Mean over the regions of a test case's Dice."""
    return float(np.mean(list(row["dice"].values())))


def test_table(rows: Sequence[Row]) -> str:
    """Mean and median over the cases for each region; the last row averages each case's regions first.

    Args:
        rows: test/cases.json.
    """
    regions = list(rows[0]["dice"])
    names = [f"{region} ({REGION_NAMES[region]})" for region in regions] + ["mean of regions"]
    cells: list[list[str]] = [[name] for name in names]
    for measure, digits in (("dice", 4), ("hd95_mm", 2)):
        values = np.array([[row[measure][region] for region in regions] for row in rows])
        values = np.column_stack([values, values.mean(axis=1)])
        for line, mean, median in zip(cells, values.mean(axis=0), np.median(values, axis=0), strict=True):
            line += [number(mean, digits), number(median, digits)]
    note = (
        "Scored on the images' own grids. Dice: 1 is perfect, 0 no overlap. HD95: 95th percentile of the distance "
        "between the surfaces. BraTS's rule for empty regions: Dice 1 and 0 mm where truth and prediction both have "
        f"none, Dice 0 and {HD95_EMPTY_MM:.0f} mm where only one has none."
    )
    return table(["region", "mean Dice", "median Dice", "mean HD95 (mm)", "median HD95 (mm)"], cells, note)


def case_table(rows: Sequence[Row]) -> str:
    """Every test case with its Dice, HD95 and volumes.

    Args:
        rows: test/cases.json in the order wanted.
    """
    regions = list(rows[0]["dice"])
    header = ["case", "mean Dice"]
    header += [f"{region} {what}" for what in ("Dice", "HD95 (mm)", "volume (ml)") for region in regions]
    cells = []
    for row in rows:
        volumes = [f"{number(row['truth_ml'][r], 1)} / {number(row['prediction_ml'][r], 1)}" for r in regions]
        dice = [number(row["dice"][region], 3) for region in regions]
        cells.append(
            [row["case"], number(mean_dice(row), 3), *dice, *(number(row["hd95_mm"][r], 1) for r in regions), *volumes]
        )
    return table(header, cells, "Sorted by mean Dice, lowest first. Volumes: truth / prediction.")


def validation_table(metrics: Sequence[Row]) -> str:
    """The best and the last validation, or nothing where there was none.

    Args:
        metrics: the records of metrics.jsonl.
    """
    validated = [record for record in metrics if "val_mean_dice" in record]
    if not validated:
        return ""
    best = max(validated, key=lambda record: np.nan_to_num(record["val_mean_dice"], nan=-1.0))
    chosen = {"best": best, "last": validated[-1]} if best is not validated[-1] else {"best and last": best}
    keys = {"val_mean_dice": "mean Dice"}
    keys |= {key: f"{key.removeprefix('val_dice_')} Dice" for key in best if key.startswith("val_dice_")}
    keys |= {"train_loss": "training loss"}
    rows = [
        [name, str(record["epoch"]), *(number(record.get(key), 4) for key in keys)] for name, record in chosen.items()
    ]
    note = "Whole validation volumes, at the spacing that the network works at."
    return table(["validation", "epoch", *keys.values()], rows, note)


def knob_table(config: Mapping[str, Any]) -> str:
    """The knobs that hold a plain value, with what the config says about each.

    Args:
        config: a run's merged config; objects and expressions are left out.
    """
    about = config.get("_desc_") or {}
    # A text is shown as it is, all else as in the config file.
    rows = [
        [key, value if isinstance(value, str) else json.dumps(value), str(about.get(key, ""))]
        for key, value in plain_knobs(config).items()
    ]
    return table(["knob", "value", "meaning"], rows, words=True) if rows else ""


def version_table(versions: Mapping[str, Mapping[str, str]]) -> str:
    """Package versions, a column a stage; one column where the stages agree.

    Args:
        versions: stage to package to version.
    """
    stages = {stage: found for stage, found in versions.items() if found}
    if len(stages) > 1 and len({json.dumps(found, sort_keys=True) for found in stages.values()}) == 1:
        stages = {"version": next(iter(stages.values()))}
    packages = list(dict.fromkeys(package for found in stages.values() for package in found))
    rows = [[package, *(found.get(package, "–") for found in stages.values())] for package in packages]
    header = ["package", *stages] if len(stages) > 1 else ["package", "version"]
    return table(header, rows, words=True) if rows else ""
