"""Following jobs that really run, through genuine clients of SageMaker and CloudWatch Logs."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.config import Config
from emulator import Account
from programs import BUCKET, IMAGE, INSTANCE, METRICS, processing, spot, training, tuning

from sm_launch.errors import LaunchError
from sm_launch.events import END, LOG, METRIC, NOTE, STATUS, TRIAL, Event, Outcome
from sm_launch.follow import follow
from sm_launch.follow_jobs import one_sentence
from sm_launch.follow_logs import LogTail, node_of
from sm_launch.follow_view import Lines, NotebookView, Page, TerminalView, clean, show, told
from sm_launch.metrics import MetricFinder

GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture
def sagemaker(account: Account) -> Any:
    """A client that makes one attempt a call."""
    return account.session().client("sagemaker", config=Config(retries={"total_max_attempts": 1}))


def events_of(account: Account, kind: str, name: str) -> list[Event]:
    """All events of a job, quickly polled."""
    return list(follow(account.session(), kind, name, poll_seconds=0.1))


def lines_of(events: list[Event], node: str = "algo-1") -> list[str]:
    """The log of a node."""
    return [event.message for event in events if event.kind == LOG and event.node == node]


class TestTraining:
    def test_status_logs_and_metrics_of_two_machines(self, account: Account, sagemaker: Any) -> None:
        more = {"STEPS": "4", "SECONDS_A_STEP": "0.2"}
        sagemaker.create_training_job(**training("job", account.role, 2, Environment=more))
        events = events_of(account, "training-job", "job")
        statuses = [event.status for event in events if event.kind == STATUS]
        assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
        wanted = [f"sm_metric step={step} loss={1 / (step + 1):.4f}" for step in range(4)]
        for node in ("algo-1", "algo-2"):
            assert lines_of(events, node) == [f"{node} begins at step 0", *wanted]
        found = [event.value for event in events if event.kind == METRIC and event.node == "algo-1"]
        assert found == [1.0, 0.5, 0.3333, 0.25]
        assert [event.kind for event in events].count(END) == 1
        outcome = events[-1].outcome
        assert outcome == Outcome("Completed", None, outcome.run_seconds, outcome.run_seconds, None, {"loss": 0.25})

    def test_spot_tells_the_interruption_and_the_saving(self, account: Account, sagemaker: Any) -> None:
        account.faults.interrupt_spot("job", "step=1 ")
        sagemaker.create_training_job(**spot("job", account.role, Environment={"SECONDS_A_STEP": "1", "WAITS_AT": "1"}))
        events = events_of(account, "training-job", "job")
        statuses = [event.status for event in events if event.kind == STATUS]
        assert "Interrupted" in statuses[2:-2] and statuses.count("Training") == 2
        outcome = events[-1].outcome
        assert outcome.saving == pytest.approx(1 - outcome.billable_seconds / outcome.run_seconds)
        assert 0 < outcome.saving < 1 and "spot saved" in told(outcome)

    def test_failure_in_one_sentence(self, account: Account, sagemaker: Any) -> None:
        sagemaker.create_training_job(**training("job", account.role, Environment={"FAIL": "1"}))
        outcome = events_of(account, "training-job", "job")[-1].outcome
        assert not outcome.succeeded and "The data are no NIfTI files" in outcome.failure
        assert "\n" not in outcome.failure

    def test_no_capacity_has_no_log_and_a_next_step(self, account: Account, sagemaker: Any) -> None:
        account.faults.no_capacity("job")
        sagemaker.create_training_job(**training("job", account.role))
        events = events_of(account, "training-job", "job")
        assert not [event for event in events if event.kind in (LOG, NOTE)]
        assert events[-1].outcome.failure.endswith("or choose another instance type or region.")

    def test_lines_that_come_after_the_end(self, account: Account, sagemaker: Any) -> None:
        account.faults.late_logs("job", 0.1)
        sagemaker.create_training_job(**training("job", account.role))
        assert len(lines_of(events_of(account, "training-job", "job"))) == 4

    def test_an_ended_job_is_told_from_its_beginning(self, account: Account, sagemaker: Any) -> None:
        sagemaker.create_training_job(**training("job", account.role))
        first = events_of(account, "training-job", "job")
        again = events_of(account, "training-job", "job")
        assert lines_of(again) == lines_of(first) and again[-1].outcome == first[-1].outcome


class TestOtherKinds:
    def test_processing(self, account: Account, sagemaker: Any) -> None:
        sagemaker.create_processing_job(**processing("prep", account.role, 2))
        events = events_of(account, "processing-job", "prep")
        assert [event.status for event in events if event.kind == STATUS] == ["InProgress", "Completed"]
        taken = lines_of(events, "algo-1") + lines_of(events, "algo-2")
        assert sorted(taken) == ["takes a.txt", "takes b.txt", "takes c.txt"]
        assert events[-1].outcome.billable_seconds is not None

    def test_tuning_tells_its_trials(self, account: Account, sagemaker: Any) -> None:
        account.world.image_command = ["python3", "/opt/ml/input/data/code/train.py"]
        sagemaker.create_hyper_parameter_tuning_job(**tuning("search", account.role))
        events = events_of(account, "tuning-job", "search")
        trials = [event for event in events if event.kind == TRIAL]
        assert [(trial.status, trial.metric) for trial in trials] == [("Completed", "loss")] * 2
        for trial in trials:
            log = [event.message for event in events if event.kind == LOG and event.job == trial.job]
            assert len(log) == 4
        outcome = events[-1].outcome
        assert outcome.best in {trial.job for trial in trials} and outcome.metrics == {"loss": 0.3333}
        assert outcome.billable_seconds >= 2

    def test_transform_and_endpoint(self, account: Account, sagemaker: Any) -> None:
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model/model.tar.gz"}
        sagemaker.create_model(ModelName="m", ExecutionRoleArn=account.role, PrimaryContainer=container)
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/texts/"}}
        sagemaker.create_transform_job(
            TransformJobName="batch",
            ModelName="m",
            TransformInput={"DataSource": source},
            TransformOutput={"S3OutputPath": f"s3://{BUCKET}/batch"},
            TransformResources={"InstanceType": INSTANCE, "InstanceCount": 1},
        )
        events = events_of(account, "transform-job", "batch")
        posts = [event.message for event in events if event.kind == LOG and "POST" in event.message]
        assert posts == ["request POST /invocations"] * 3 and events[-1].outcome.succeeded
        variant = {"VariantName": "v", "ModelName": "m", "InstanceType": INSTANCE, "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
        events = events_of(account, "endpoint", "e")
        assert [event.status for event in events if event.kind == STATUS] == ["Creating", "InService"]
        assert "serving" in [event.message for event in events if event.kind == LOG]
        account.faults.fail_endpoint("bad", "no capacity")
        sagemaker.create_endpoint(EndpointName="bad", EndpointConfigName="c")
        assert events_of(account, "endpoint", "bad")[-1].outcome == Outcome("Failed", "no capacity")


class TestTroubles:
    def test_what_is_not_there(self, account: Account) -> None:
        with pytest.raises(LaunchError, match="there is no training-job 'x' in us-east-1; check the name"):
            events_of(account, "training-job", "x")
        with pytest.raises(LaunchError, match="'bucket' cannot be followed; choose one of training-job"):
            events_of(account, "bucket", "x")

    def test_refused_and_throttled(self, account: Account, sagemaker: Any) -> None:
        sagemaker.create_training_job(**training("job", account.role))
        account.faults.deny("DescribeTrainingJob")
        with pytest.raises(LaunchError, match="AccessDeniedException.*ask for the permission"):
            events_of(account, "training-job", "job")
        account.faults.clear()
        account.faults.throttle("DescribeTrainingJob", times=1)
        account.faults.lose_connection("DescribeTrainingJob", times=1)
        assert events_of(account, "training-job", "job")[-1].outcome.succeeded

    def test_unreadable_logs_do_not_stop_the_status(self, account: Account, sagemaker: Any) -> None:
        account.faults.deny("DescribeLogStreams")
        sagemaker.create_training_job(**training("job", account.role, Environment={"SECONDS_A_STEP": "0.1"}))
        events = []
        for event in follow(account.session(), "training-job", "job", poll_seconds=0.1):
            events.append(event)
            if event.kind == NOTE:
                account.faults.clear()
        assert len([event for event in events if event.kind == NOTE]) == 1
        assert len(lines_of(events)) == 4 and events[-1].outcome.succeeded

    def test_deleted_while_followed(self, account: Account, sagemaker: Any) -> None:
        request = training("job", account.role, Environment={"SECONDS_A_STEP": "0.2"})
        sagemaker.create_training_job(**request)
        events = follow(account.session(), "training-job", "job", poll_seconds=0.05)
        next(events)
        del account.world.tables["training-job"]["job"]
        assert list(events)[-1].outcome == Outcome("Deleted")

    def test_the_sessions_region_is_used(self, account: Account) -> None:
        with pytest.raises(LaunchError, match="in eu-west-1"):
            list(follow(account.session("eu-west-1"), "training-job", "x"))


class TestLogTail:
    def put(self, logs: Any, stream: str, first: int, count: int, start: int) -> None:
        """Write numbered lines, five of them in each millisecond."""
        events = [{"timestamp": start + number // 5, "message": str(number)} for number in range(first, first + count)]
        for at in range(0, count, 1000):
            logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events[at : at + 1000])

    def test_long_streams_that_grow_and_appear_late(self, account: Account) -> None:
        logs, start = account.session().client("logs"), int(time.time() * 1000)
        tail = LogTail(logs, GROUP, "job/")
        assert list(tail.poll()) == []
        logs.create_log_group(logGroupName=GROUP)
        logs.create_log_stream(logGroupName=GROUP, logStreamName="job/algo-1-1")
        logs.create_log_stream(logGroupName=GROUP, logStreamName="job-2/algo-1-1")
        self.put(logs, "job-2/algo-1-1", 0, 3, start)
        self.put(logs, "job/algo-1-1", 0, 12000, start)
        read = [(line.node, line.text) for line in tail.poll()]
        logs.create_log_stream(logGroupName=GROUP, logStreamName="job/algo-2-1")
        self.put(logs, "job/algo-2-1", 0, 7, start)
        self.put(logs, "job/algo-1-1", 12000, 5, start)
        read += [(line.node, line.text) for line in tail.poll()]
        assert list(tail.poll()) == []
        assert [text for node, text in read if node == "algo-1"] == [str(number) for number in range(12005)]
        assert [text for node, text in read if node == "algo-2"] == [str(number) for number in range(7)]

    def test_a_token_that_has_expired(self, account: Account) -> None:
        logs, start = account.session().client("logs"), int(time.time() * 1000)
        logs.create_log_group(logGroupName=GROUP)
        logs.create_log_stream(logGroupName=GROUP, logStreamName="job/algo-1-1")
        self.put(logs, "job/algo-1-1", 0, 8, start)
        tail = LogTail(logs, GROUP, "job/")
        read = [line.text for line in tail.poll()]
        self.put(logs, "job/algo-1-1", 8, 4, start)
        # moto refuses a token that is none with CloudWatch's own error.
        tail._streams["job/algo-1-1"].token = "expired"
        read += [line.text for line in tail.poll()]
        assert read == [str(number) for number in range(12)]

    def test_nodes(self) -> None:
        assert node_of("job-2/algo-12-1700000000") == "algo-12"
        assert node_of("AllTraffic/i-0abc") == "i-0abc"


class TestView:
    def test_terminal(self, account: Account, sagemaker: Any) -> None:
        sagemaker.create_training_job(**training("job", account.role))
        stream = io.StringIO()
        outcome = show(follow(account.session(), "training-job", "job", poll_seconds=0.1), "job", stream)
        text = stream.getvalue()
        assert "algo-1 | sm_metric step=2 loss=0.3333\n" in text and "\x1b" not in text
        assert "Downloading: Downloading input data" in text
        assert outcome.succeeded and text.splitlines()[-1].endswith("loss 0.3333")

    def test_colour_on_a_terminal_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.delenv("NO_COLOR", raising=False)
        event = Event(datetime.now(timezone.utc), "job", LOG, node="algo-1", message="x")
        stream = Terminal()
        TerminalView("job", stream).show(event)
        assert stream.getvalue() == "\x1b[36malgo-1\x1b[0m | x\n"
        monkeypatch.setenv("NO_COLOR", "1")
        stream = Terminal()
        TerminalView("job", stream).show(event)
        assert stream.getvalue() == "algo-1 | x\n"
        assert Lines("search", False).line(event) == "job algo-1 | x"

    def test_notebook_page(self) -> None:
        page, now = Page("job"), datetime.now(timezone.utc)
        page.take(Event(now, "job", STATUS, "Training", message="in progress"))
        for value in (0.5, 0.25):
            page.take(Event(now, "job", LOG, node="algo-1", message=f"<script>loss={value}</script>"))
            page.take(Event(now, "job", METRIC, node="algo-1", metric="loss", value=value))
        text = page.html()
        assert "Training: in progress" in text and "<script>" not in text
        assert "<td>loss</td><td>0.25</td><td>0.25</td><td>0.5</td>" in text
        for number in range(300):
            page.take(Event(now, "job", LOG, node="algo-1", message=f"line {number}"))
        assert "line 299" in page.html() and "line 99\n" not in page.html()

    def test_a_notebook_cell(self) -> None:
        view = NotebookView("job")
        view.show(Event(datetime.now(timezone.utc), "job", END, outcome=Outcome("Completed")))
        assert "Completed" in view.page.html()

    def test_a_log_does_not_steer_the_terminal(self) -> None:
        assert clean("10%|#\r20%|##\r") == "20%|##"
        assert clean("\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m\tx\x08") == "red\tx"

    def test_failure_reasons(self) -> None:
        reason = 'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "..."'
        assert one_sentence(reason) == "AlgorithmError: ExecuteUserScriptError:"
        assert one_sentence("word " * 200).endswith(" ...") and one_sentence(None) is None

    def test_metric_definitions(self) -> None:
        finder = MetricFinder([*METRICS, {"Name": "broken", "Regex": "("}, {"Name": "text", "Regex": "(step)"}])
        assert list(finder.find("step loss=1e-3, loss=2")) == [("loss", 0.001), ("loss", 2.0)]

    def test_follow_imports_nothing_heavy(self) -> None:
        code = "import sys, sm_launch.follow_view, sm_launch.follow; print({'boto3', 'IPython'} & set(sys.modules))"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
