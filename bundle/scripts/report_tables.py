"""The tables of a run's report, from what the run's JSON files hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.bootstrap import interval
from scripts.labels import REGION_NAMES
from scripts.records import plain_knobs
from scripts.report_html import number, table
from scripts.score_tables import HEADINGS, TOTALS, Row, columns, mean_dice
from scripts.surfaces import HD95_EMPTY_MM

MAIN_MEASURES = ("dice", "hd95_mm")
INTERVAL = "95 % interval"


def test_table(rows: Sequence[Row]) -> str:
    """Mean, its interval and median over the cases for each region; the last row averages each case's regions first.

    Args:
        rows: test/cases.json.
    """
    regions = list(rows[0]["dice"])
    names = [f"{region} ({REGION_NAMES[region]})" if region in REGION_NAMES else region for region in regions]
    names.append("mean of regions")
    cells: list[list[str]] = [[name] for name in names]
    header = ["region"]
    for measure in MAIN_MEASURES:
        heading, digits = HEADINGS[measure]
        header += [f"mean {heading}", INTERVAL, f"median {heading}"]
        values = columns(rows, measure, regions)
        medians = np.median(values, axis=0)
        for line, mean, bounds, median in zip(
            cells, values.mean(axis=0), _bounds(values, digits), medians, strict=True
        ):
            line += [number(mean, digits), bounds, number(median, digits)]
    note = (
        "Scored on the images' own grids. Dice: 1 is perfect, 0 no overlap. HD95: 95th percentile of the distance "
        "between the surfaces. BraTS's rule for empty regions: Dice 1 and 0 mm where truth and prediction both have "
        f"none, Dice 0 and {HD95_EMPTY_MM:.0f} mm where only one has none. Intervals: bootstrap over cases, too narrow "
        "where there are few."
    )
    return table(header, cells, note)


def measure_table(rows: Sequence[Row]) -> str:
    """Mean and interval of all other measures, a line each, and the lesions; nothing for tables that lack them.

    Args:
        rows: test/cases.json.
    """
    regions = list(rows[0]["dice"])
    cells = []
    for measure, (heading, digits) in HEADINGS.items():
        if measure in MAIN_MEASURES or any(measure not in row for row in rows):
            continue
        values = columns(rows, measure, regions)
        means = [number(mean, digits) for mean in values.mean(axis=0)]
        joined = [
            f"{mean} ({bounds})" if bounds else mean
            for mean, bounds in zip(means, _bounds(values, digits), strict=True)
        ]
        cells.append([heading, *joined])
    if not cells:
        return ""
    counts = [" / ".join(str(sum(row[count][region] for row in rows)) for count in TOTALS) for region in regions]
    cells.append(["lesions: in the truth / missed / false", *counts, ""])
    note = (
        "Means over cases, with 95 % intervals. Volume errors: prediction less truth; relative to the mean of both. "
        "Lesion-wise: as BraTS 2023 defines it, where every missed and every false lesion counts as a whole one."
    )
    return table(["measure", *regions, "mean of regions"], cells, note)


def _bounds(values: NDArray[np.float64], digits: int) -> list[str]:
    """The interval of each column of (N, M) as text, empty texts for a single case."""
    if len(values) < 2:
        return [""] * values.shape[1]
    return [f"{number(low, digits)} to {number(high, digits)}" for low, high in interval(values).T]


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
