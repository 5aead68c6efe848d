"""What can go wrong at AWS, on demand; each fault stands until it was met or ``clear`` is called."""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass

from emulator.errors import DENIED, THROTTLED, AwsError, over_limit

CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)


@dataclass
class _Cut:
    method: str
    path: re.Pattern[str]
    executed: bool
    times: int


class Faults:
    """Faults by operation (CreateTrainingJob) or by the name of a job or endpoint (a regular expression)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Everything works again."""
        self._throttled: Counter[str] = Counter()
        self._denied: set[str] = set()
        self._lost: Counter[str] = Counter()
        self._lost_before: Counter[str] = Counter()
        self._limits: dict[tuple[str, str], int] = {}
        self._failures: dict[str, str] = {}
        self._failed_endpoints: dict[str, str] = {}
        self._slow: dict[str, float] = {}
        self._late: dict[str, float] = {}
        self._spot: dict[str, tuple[str, int]] = {}
        self._http: list[tuple[str, re.Pattern[str], int, str]] = []
        self._cuts: list[_Cut] = []

    def throttle(self, operation: str, times: int = 1) -> None:
        """The next ``times`` calls of an operation answer ThrottlingException."""
        self._throttled[operation] += times

    def deny(self, operation: str) -> None:
        """The user may not call the operation."""
        self._denied.add(operation)

    def lose_connection(self, operation: str, times: int = 1, executed: bool = True) -> None:
        """The next calls get no answer: the socket closes, after the call took effect or (not executed) before."""
        (self._lost if executed else self._lost_before)[operation] += times

    def limit(self, instance_type: str, usage: str, instances: int) -> None:
        """The account's quota of a type; ``usage`` as in the quota's name: training job usage, endpoint usage."""
        self._limits[instance_type, usage] = instances

    def no_capacity(self, name: str) -> None:
        """Jobs whose name matches fail with CapacityError, before a container starts."""
        self._failures[name] = CAPACITY

    def fail_job(self, name: str, reason: str) -> None:
        """Jobs whose name matches fail with this reason, before a container starts."""
        self._failures[name] = reason

    def fail_endpoint(self, name: str, reason: str) -> None:
        """Endpoints whose name matches become Failed."""
        self._failed_endpoints[name] = reason

    def slow_endpoint(self, name: str, seconds: float) -> None:
        """Endpoints whose name matches stay in Creating for so long, beyond what their container takes."""
        self._slow[name] = seconds

    def late_logs(self, name: str, seconds: float) -> None:
        """Log lines of jobs whose name matches arrive so long after the job's end."""
        self._late[name] = seconds

    def interrupt_spot(self, name: str, log_line: str, times: int = 1) -> None:
        """Spot instances of jobs whose name matches are taken away when a log line matches ``log_line``."""
        self._spot[name] = (log_line, times)

    def refuse_http(self, method: str, path: str, status: int = 403, code: str = "AccessDenied") -> None:
        """Requests to S3 (and what else moto serves) whose path (/BUCKET/KEY) matches are refused with this error."""
        self._http.append((method, re.compile(path), status, code))

    def cut_http(self, method: str, path: str, times: int = 1, executed: bool = True) -> None:
        """The next requests to S3 whose path matches get no answer, after they took effect or (not executed) before."""
        self._cuts.append(_Cut(method, re.compile(path), executed, times))

    def before(self, service: str, operation: str, user: str, resource: str) -> None:
        """Raise what the fault of this operation says, if there is one; ``user`` and ``resource`` are ARNs."""
        with self._lock:
            if operation in self._denied:
                action = f"{service}:{operation}"
                raise AwsError(
                    DENIED,
                    f"User: {user} is not authorized to perform: {action} on resource: {resource} because no "
                    f"identity-based policy allows the {action} action",
                )
            if self._throttled[operation] > 0:
                self._throttled[operation] -= 1
                raise AwsError(THROTTLED, "Rate exceeded")

    def loses(self, operation: str, executed: bool) -> bool:
        """Whether this call's connection is to be lost now."""
        counter = self._lost if executed else self._lost_before
        with self._lock:
            if counter[operation] <= 0:
                return False
            counter[operation] -= 1
            return True

    def check_limit(self, instance_type: str, usage: str, wanted: int, used: int) -> None:
        """Raise ResourceLimitExceeded if a quota was set that this request would exceed."""
        limit = self._limits.get((instance_type, usage))
        if limit is not None and used + wanted > limit:
            raise over_limit(instance_type, usage, limit, used, wanted)

    def limits(self) -> dict[tuple[str, str], int]:
        """The quotas that were set, by (instance type, usage)."""
        return dict(self._limits)

    def job_failure(self, name: str) -> str | None:
        """The reason for which a job of this name must fail."""
        return _matching(self._failures, name)

    def endpoint_failure(self, name: str) -> str | None:
        """The reason for which an endpoint of this name must fail."""
        return _matching(self._failed_endpoints, name)

    def endpoint_delay(self, name: str) -> float:
        """Further seconds that an endpoint of this name takes."""
        return _matching(self._slow, name) or 0.0

    def log_delay(self, name: str) -> float:
        """Seconds after its end that the job's log lines arrive."""
        return _matching(self._late, name) or 0.0

    def interrupts(self, name: str, line: str) -> bool:
        """Whether this log line is the moment at which the job's spot instances go."""
        with self._lock:
            for pattern, (log_line, times) in self._spot.items():
                if times > 0 and re.fullmatch(pattern, name) and re.search(log_line, line):
                    self._spot[pattern] = (log_line, times - 1)
                    return True
        return False

    def cuts(self, method: str, path: str, executed: bool) -> bool:
        """Whether this request's connection is to be cut now."""
        with self._lock:
            for cut in self._cuts:
                if cut.times > 0 and (cut.method, cut.executed) == (method, executed) and cut.path.match(path):
                    cut.times -= 1
                    return True
        return False

    def http_refusal(self, method: str, path: str) -> tuple[int, str] | None:
        """HTTP status and S3 error code with which this request is to be refused."""
        for wanted, pattern, status, code in self._http:
            if method == wanted and pattern.match(path):
                return status, code
        return None


def _matching(table: dict, name: str):
    return next((value for pattern, value in table.items() if re.fullmatch(pattern, name)), None)
