"""Every rule by the sentence that a user sees, and the page that lists them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import launch_plans as lp
import pytest
from rule_cases import Case, image, machine, one
from rule_cases_aws import ADVICE_CASES, CASES

from sm_launch import rules
from sm_launch.errors import LaunchError
from sm_launch.instances import takes_volume_key
from sm_launch.rules_storage import own_tags
from sm_launch.serving import check_payload
from sm_launch.steps import Plan, Step

PAGE = Path(rules.__file__).parent / "docs" / "rules.md"


def names(cases: tuple[Case, ...]) -> list[str]:
    return [f"{case.rule}-{number}" for number, case in enumerate(cases)]


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_broken_plan_is_refused_in_one_sentence(case: Case) -> None:
    assert rules.check(case.plan()) == [case.message]


@pytest.mark.parametrize("case", ADVICE_CASES, ids=names(ADVICE_CASES))
def test_advice_is_given_and_stops_nothing(case: Case) -> None:
    plan = case.plan()
    assert case.message in rules.advice(plan)
    assert not rules.check(plan)


def test_a_rule_says_it_by_its_own_name() -> None:
    by_name = {rule.name: rule for rule in (*rules.RULES, *rules.ADVICE)}
    for case in (*CASES, *ADVICE_CASES):
        assert case.message in list(by_name[case.rule].check(case.plan()))


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == {rule.name for rule in rules.RULES}
    assert {case.rule for case in ADVICE_CASES} == {rule.name for rule in rules.ADVICE}


def test_whole_plan_passes() -> None:
    assert rules.check(lp.everything()) == []


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(
            one(
                lp.training(),
                machine("ml.p4de.24xlarge", 2),
                image(lp.SMDDP_IMAGE),
                uploads=lp.code_uploads("smddprun", "monai==1.5.2\n"),
            ),
            id="smddp",
        ),
        pytest.param(
            one(lp.training(), uploads=lp.code_uploads("torchrun", processes_per_host=2)), id="gloo-on-processors"
        ),
        pytest.param(
            one(
                lp.training(),
                machine("ml.g5.12xlarge"),
                image("123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"),
                uploads=lp.code_uploads("torchrun"),
            ),
            id="own-image",
        ),
    ],
)
def test_what_is_allowed_stays_allowed(plan: object) -> None:
    assert rules.check(plan()) == []


def test_bucket_in_another_region_than_the_first() -> None:
    steps = [
        lp.changed(
            step,
            lp.put("CreateBucketConfiguration", {"LocationConstraint": "us-east-1"})
            if step.operation == "CreateBucket"
            else lambda request: None,
        )
        for step in lp.bucket()
    ]
    assert rules.check(lp.plan(*steps)) == [
        "demo-bucket: CreateBucketConfiguration.LocationConstraint is us-east-1, and a bucket for jobs in us-east-1 "
        "takes none; change it."
    ]


@pytest.mark.parametrize(
    ("regex", "accepted"),
    [
        (r"loss=([0-9.eE+-]+)", True),
        (r"loss=(-?\d+\.\d*)", True),
        (r"\(best\) dice: ((?:0|1)\.\d+)", True),
        (r"dice (?P<value>[0-9.]+)", True),
        (r"[)(]=([0-9]+)", True),
        (r"loss: (.*?)$", False),
        (r"loss=([0-9]*)", False),
        (r"(\d*)", False),
        (r"dice (?P<value>[0-9.]*)", False),
    ],
)
def test_metric_regex_must_capture_something(regex: str, accepted: bool) -> None:
    plan = one(lp.training(), lp.put("AlgorithmSpecification.MetricDefinitions.0.Regex", regex))()
    assert (rules.check(plan) == []) is accepted


def test_tags_are_read_as_their_service_has_them() -> None:
    given = {"aws:team": "ours", "team": "aws:fine", "Value": "aws:fine"}
    listed = [{"Key": name, "Value": value} for name, value in given.items()]
    lower = [{"key": name, "value": value} for name, value in given.items()]
    for request in ({"tags": given}, {"Tags": listed}, {"tags": lower}):
        step = Step("logs", "CreateLogGroup", request, "log-group", "logs")
        found = list(own_tags(replace(lp.plan(lp.training()), steps=(step,))))
        assert found == [
            "logs: has the tag 'aws:team', and AWS keeps names that begin with aws: for itself; rename it."
        ]


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("nibabel", True),
        ("  # a comment", True),
        ("nibabel==5.3.2  # the newest", True),
        ("monai[fire, nibabel] ~= 1.5.0, != 1.5.1", True),
        ('mlflow>=2,<4; python_version < "3.13"', True),
        ("--extra-index-url https://example.org/simple", True),
        ("git+https://github.com/Project-MONAI/MONAI@dev", True),
        ("./wheels/ours-1.0-py3-none-any.whl", True),
        ("nibabel>=5,", True),
        ("nibabel (>=5, <6)", True),
        ("nibabel==5.3.2 --hash=sha256:0a1b", True),
        ("nibabel==5.3.2 \\", True),
        ("nibabel==5.3.2\t# the newest", True),
        ("wheels/ours-1.0-py3-none-any.whl", True),
        ("ours @ https://example.org/ours-1.0.tar.gz", True),
        ("nibabel==", False),
        ("nibabel==5.3.2-", False),
        ("nibabel (>=5", False),
        ("nibabel 5.3.2", False),
        ("nibabel=>5", False),
        ("monai[fire==1.5", False),
        ("==5.3", False),
    ],
)
def test_lines_that_pip_does_not_read_are_refused(line: str, read: bool) -> None:
    plan = one(lp.training(), uploads=lp.code_uploads("none", line))()
    assert (rules.check(plan) == []) is read


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("monai==1.6.1", True),
        ("monai>=1.5", True),
        ("monai", True),
        ("monai[fire,nibabel]~=1.6.0 # newest", True),
        ("monai==1.5.2", False),
        ("monai<=1.5.2", False),
        ("monai-weekly==1.7", False),
        ("nibabel", False),
    ],
)
def test_monai_of_requirements_against_an_old_image(line: str, refused: bool) -> None:
    plan = one(lp.training(), machine("ml.g5.xlarge"), image(lp.SMDDP_IMAGE), uploads=lp.code_uploads("none", line))()
    assert bool(rules.check(plan)) is refused


@pytest.mark.parametrize(
    ("mode", "size", "sentence"),
    [
        ("realtime", 26_000_000, "x has 26.0 MB, and realtime inference takes 25 MB at most; use an async endpoint."),
        (
            "serverless",
            5_000_000,
            "x has 5.0 MB, and serverless inference takes 4 MB at most; use a real-time endpoint.",
        ),
        ("batch", 101_000_000, "x has 101.0 MB, and batch inference takes 100 MB at most; use an async endpoint."),
        ("async", 1_100_000_000, "x has 1100.0 MB, and async inference takes 1000 MB at most; crop or compress it."),
    ],
)
def test_payload_too_large_for_its_mode(mode: str, size: int, sentence: str) -> None:
    with pytest.raises(LaunchError) as raised:
        check_payload(mode, size, "x")
    assert str(raised.value) == sentence
    check_payload(mode, 3_000_000, "x")


def test_types_that_take_a_volume_key() -> None:
    assert [takes_volume_key(name) for name in ("ml.m5.xlarge", "ml.p3.2xlarge")] == [True, True]
    assert [takes_volume_key(name) for name in ("ml.g5.xlarge", "ml.p4d.24xlarge")] == [False, False]
    assert takes_volume_key("ml.of.tomorrow")


def page() -> str:
    """docs/rules.md, as the rules and their cases are."""
    lines = [
        "# Rules of a plan",
        "",
        "`plan` holds every request against AWS's own API model (unknown and missing members, enumerations, patterns, "
        "lengths and ranges, as the installed botocore has them) and against the rules below. One violation, one "
        "sentence; any of them stops the plan. `sm_launch.rules.check(plan)` returns them, "
        "`sm_launch.rules.advice(plan)` what stops nothing. None has been held against AWS itself: untested on AWS.",
        "",
    ]
    for title, known, cases in (("Refused", rules.RULES, CASES), ("Advice", rules.ADVICE, ADVICE_CASES)):
        lines += [f"## {title}", ""]
        for rule in known:
            lines += [f"**{rule.name}**: {rule.about}", ""]
            lines += [f"> {case.message}" for case in cases if case.rule == rule.name][:1] + [""]
    return "\n".join(lines).rstrip() + "\n"


def test_page_lists_the_rules_as_they_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write page() of this test to docs/rules.md"


def test_plan_without_steps_is_fine() -> None:
    assert rules.check(Plan("r", "us-east-1", "a-bucket", "standard")) == []
