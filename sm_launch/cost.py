"""What a plan costs, as a range: from the hours that are expected up to the ceiling that its time limits set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sm_launch.instances import instance, known
from sm_launch.prices import HOURS_PER_MONTH, Prices, TablePrices
from sm_launch.steps import Plan
from sm_launch.table import table
from sm_launch.views import CREATE_FILE_SYSTEM, ENDPOINT, TRANSFORM, Fleet, fleets, of

GB = 1_000_000_000
HOURS_PER_DAY = 24
UNKNOWN = "unknown"
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Hours:
    """How long one job of a step is expected to run, in hours of wall clock.

    Attributes:
        low: the shortest.
        high: the longest.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """The cost of one set of machines or one store.

    Attributes:
        name: the step's name.
        what: 2 x ml.g5.2xlarge.
        low: USD at least; None where unknown.
        high: USD at most; None where unknown or without a limit.
        idle_per_day: USD a day for as long as it exists, used or not; 0 for a job, None where unknown.
        note: what the figures rest on.
    """

    name: str
    what: str
    low: float | None
    high: float | None
    idle_per_day: float | None = 0.0
    note: str = ""


@dataclass(frozen=True)
class Estimate:
    """The cost of a plan.

    Attributes:
        lines: parts of it.
        source: where the prices come from.
    """

    lines: tuple[Line, ...]
    source: str

    @property
    def low(self) -> float:
        """USD of the jobs at least, of what is known."""
        return sum(line.low or 0 for line in self.lines)

    @property
    def high(self) -> float | None:
        """USD of the jobs at most; None where a part is unknown."""
        highs = [line.high for line in self.lines]
        return None if None in highs else sum(high for high in highs if high is not None)

    @property
    def idle_per_day(self) -> float | None:
        """USD a day of what bills while idle; None where a part is unknown."""
        days = [line.idle_per_day for line in self.lines]
        return None if None in days else sum(day for day in days if day is not None)


def estimate(plan: Plan, expected: Mapping[str, Hours] | None = None, prices: Prices | None = None) -> Estimate:
    """The cost of a plan.

    Args:
        plan: the plan.
        expected: hours of one job of a step, by the step's name; a step without has its ceiling only.
        prices: None for the dated table.
    """
    prices = prices or TablePrices(plan.region)
    expected = expected or {}
    lines = []
    order = {id(step): place for place, step in enumerate(plan.steps)}
    for fleet in sorted(fleets(plan), key=lambda fleet: order[id(fleet.step)]):
        line = _fleet(plan, fleet, expected.get(fleet.step.name), prices)
        if fleet.alternative and lines and lines[-1].name == line.name:
            lines[-1] = _either(lines[-1], line)
        else:
            lines.append(line)
    lines += [_lustre(step.name, step.request, prices) for step in of(plan, CREATE_FILE_SYSTEM)]
    lines.append(_bucket(plan, prices))
    return Estimate(tuple(lines), prices.source)


def render(estimate: Estimate) -> str:
    """The estimate as a table of plain text."""
    rows = [("step", "what", "USD", "idle USD/day")]
    for line in estimate.lines:
        rows.append((line.name, line.what, _span(line.low, line.high), _dollars(line.idle_per_day)))
    rows.append(("total", "", _span(estimate.low, estimate.high), _dollars(estimate.idle_per_day)))
    text = _columns(rows)
    notes = list(dict.fromkeys(f"{line.name}: {line.note}" for line in estimate.lines if line.note))
    return "\n".join([text, *notes, f"Prices: {estimate.source}."])


def _fleet(plan: Plan, fleet: Fleet, hours: Hours | None, prices: Prices) -> Line:
    what = f"{fleet.count} x {fleet.instance_type}"
    if fleet.jobs > 1:
        what += f" x {fleet.jobs} trials"
    price, volume = prices.instance_hour(fleet.instance_type, fleet.use), _volume_hour(fleet, prices)
    if price is None:
        note = f"the price of {fleet.instance_type} in {plan.region} is unknown; ask with --live-prices"
        return Line(fleet.step.name, what, None, None, None if fleet.use == ENDPOINT else 0.0, note)
    if volume is None:
        # A hundredth of most instances' price: leaving the whole line out would hide more than it.
        line = _priced(plan, fleet, hours, what, fleet.count * price)
        note = f"without its EBS volume of {fleet.volume_gb} GB, whose price in {plan.region} is unknown"
        return replace(line, note="; ".join(filter(None, (line.note, note))))
    return _priced(plan, fleet, hours, what, fleet.count * (price + volume))


def _priced(plan: Plan, fleet: Fleet, hours: Hours | None, what: str, hourly: float) -> Line:
    """The line of machines that cost ``hourly`` USD together."""
    if fleet.use == ENDPOINT:
        return _endpoint(plan, fleet, what, hourly)
    jobs = fleet.jobs
    low = hours.low * hourly * jobs if hours else 0.0
    notes = [] if hours else ["no hours are expected, so the figure is the ceiling of its time limit"]
    if fleet.max_runtime_s is None:
        high = hours.high * hourly * jobs if hours else None
        notes = [f"a {TRANSFORM} job has no time limit; it costs {_dollars(hourly)} an hour"]
    else:
        high = fleet.max_runtime_s / _SECONDS_PER_HOUR * hourly * jobs
        low = min(low, high)
    if fleet.spot:
        least, most = table("prices")["spot_share"]
        low, high = low * least, high * most if high is not None else None
        notes.append(f"spot is assumed to cost {least:.0%} to {most:.0%} of on-demand, which AWS doesn't promise")
    if fleet.keep_alive_s:
        pool = fleet.keep_alive_s / _SECONDS_PER_HOUR * hourly
        high = high + pool if high is not None else None
        notes.append(f"the warm pool bills {_dollars(pool)} more unless a next job takes it or down ends it")
    return Line(fleet.step.name, what, low, high, 0.0, "; ".join(notes))


def _either(one: Line, other: Line) -> Line:
    """The line of trials that take one kind of machines or the other."""
    lows, highs = (one.low, other.low), (one.high, other.high)
    return Line(
        one.name,
        one.what if one.what == other.what else f"{one.what} or {other.what}",
        None if None in lows else min(low for low in lows if low is not None),
        None if None in highs else max(high for high in highs if high is not None),
        note=one.note if one.note == other.note else f"{one.note}; {other.note}".strip("; "),
    )


def _endpoint(plan: Plan, fleet: Fleet, what: str, hourly: float) -> Line:
    daily = hourly * HOURS_PER_DAY
    for step in of(plan, "RegisterScalableTarget"):
        if step.request.get("MinCapacity") == 0:
            note = f"scales to zero: {_dollars(hourly)} an hour while it answers, nothing while idle"
            return Line(fleet.step.name, what, 0.0, 0.0, 0.0, note)
    return Line(fleet.step.name, what, 0.0, 0.0, daily, f"{_dollars(hourly)} an hour until it is deleted")


def _lustre(name: str, request: Mapping, prices: Prices) -> Line:
    lustre, size = request.get("LustreConfiguration", {}), request.get("StorageCapacity", 0)
    kind = lustre.get("DeploymentType", "")
    monthly = prices.lustre_gb_month(kind, lustre.get("PerUnitStorageThroughput"))
    daily = None if monthly is None else monthly * size / HOURS_PER_MONTH * HOURS_PER_DAY
    note = "bills until it is deleted" if daily is not None else f"the price of {kind} at this throughput is unknown"
    return Line(name, f"FSx for Lustre, {size} GiB", 0.0, 0.0, daily, note)


def _bucket(plan: Plan, prices: Prices) -> Line:
    size = (sum(upload.size for upload in plan.uploads) + sum(copy.size for copy in plan.copies)) / GB
    monthly = prices.s3_gb_month()
    daily = None if monthly is None else monthly * size / HOURS_PER_MONTH * HOURS_PER_DAY
    return Line(plan.bucket, f"S3, {size:.2f} GB of uploads", 0.0, 0.0, daily, "outputs and requests come on top")


def _volume_hour(fleet: Fleet, prices: Prices) -> float | None:
    """USD an hour of one machine's EBS volume, None if unknown; types with local NVMe disks have none."""
    if known(fleet.instance_type) and instance(fleet.instance_type).nvme_gb:
        return 0.0
    monthly = prices.volume_gb_month()
    return None if monthly is None else fleet.volume_gb * monthly / HOURS_PER_MONTH


def _span(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return UNKNOWN
    if low == high:
        return _dollars(low)
    return f"{_dollars(low)} to {_dollars(high)}"


def _dollars(amount: float | None) -> str:
    return UNKNOWN if amount is None else f"{amount:,.2f}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
