"""What looks like a secret or a patient's identity in a text. Standard library only, Python 3.8 on.

It is shipped with the jobs, whose log lines it masks under profile phi, and used by the plan's guard: one net for both.
The detectors are a net, not a proof: a name written as plain words cannot be told from any other word. What they found
they never repeat.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Detector:
    """One kind of text that must not be stored outside the encrypted data.

    Attributes:
        kind: what it looks like, as messages say it.
        pattern: finds it.
    """

    kind: str
    pattern: re.Pattern[str]


SECRET_WORD = (
    r"(?:password|passwd|passphrase|secret|api[_-]?key|private[_-]?key|access[_-]?token|auth[_-]?token|credentials?)"
)
_MIXED = r"(?=(?:[a-z0-9+/]{0,32}[A-Z]){8})(?=(?:[A-Z0-9+/]{0,32}[a-z]){8})(?=[A-Za-z+/]{0,39}[0-9])"
# Every repetition is bounded or begins at the edge of a word, so a line of a megabyte takes no longer than its length.
DETECTORS = tuple(
    Detector(kind, re.compile(pattern))
    for kind, pattern in (
        # AWS's prefixes of access keys: IAM User Guide, "Unique identifiers".
        ("an AWS access key", r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])"),
        # Forty characters of base64 (IAM User Guide, "Access keys"), mixed as random ones are and words, paths, digests
        # are not: as a word with a few slashes, or as a part of a path.
        (
            "an AWS secret key",
            rf"(?<![A-Za-z0-9+/]){_MIXED}(?!(?:[A-Za-z0-9+]{{0,39}}/){{4}})[A-Za-z0-9+/]{{40}}(?![A-Za-z0-9+/=])"
            rf"|(?<![A-Za-z0-9+]){_MIXED}[A-Za-z0-9+]{{40}}(?![A-Za-z0-9+=]|/[A-Za-z0-9+/]{{0,40}}=)",
        ),
        ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
        (
            "a token",
            r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}"
            r"|xox[abprs]-[\w-]{10,}|sk-[A-Za-z0-9_-]{20,}|eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]*)",
        ),
        ("a password or key", rf"(?i)(?<![A-Za-z]){SECRET_WORD}\w*[\"']?\s*[=:]\s*[\"']?(?!arn:aws)[^\s\"'&,;]{{4,}}"),
        ("a password in an address", r"[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{1,256}:[^\s/:@]{1,256}@"),
        # DICOM's person name, components joined by ^ (PS3.5, 6.2 VR PN).
        (
            "a patient's name",
            r"(?<![\w)\]\[(|\\])[^\W\d_][^\W\d_]?[\w'\-]{0,64}\^[^\W\d_]{2}[\w'\-]{0,64}(?:\^[\w'\-]{0,64}){0,4}",
        ),
        (
            "a patient's identity",
            r"(?i)patient'?s?[ _-]?(?:name|birth[ _-]?date|address|mothersbirthname)|\(0010,[0-9a-f]{4}\)",
        ),
        (
            "a medical record number",
            r"(?i)(?<![a-z])(?:mrn|medical[ _-]?record(?:[ _-]?(?:no|number))?|patient[ _-]?(?:id|no|number))"
            r"[\s:=#_./-]{0,3}[a-z]{0,3}\d{4,}",
        ),
        ("a social security number", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"),
        ("a health service number", r"(?<![\d-])\d{3}[ -]\d{3}[ -]\d{4}(?![\d-])"),
        ("a date of birth", r"(?i)(?<![a-z])(?:dob|born|birth[ _-]?date|date[ _-]?of[ _-]?birth)[\s:=_-]*\d"),
        # After a point it is a fraction, such as a metric's.
        (
            "a date of birth",
            r"(?<!\d)(?<!\d\.)(?:19\d\d|20[01]\d)([-_/.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)",
        ),
        ("a date of birth", r"(?<!\d)(?:0[1-9]|[12]\d|3[01])([-/.])(?:0[1-9]|1[0-2])\1(?:19\d\d|20[01]\d)(?!\d)"),
    )
)
# Ids that AWS made: digits in them are no date. A policy's version is a date, and the same in every policy.
_AWS_ID = re.compile(
    r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[0-9a-f-]+|arn:aws[a-z-]*:secretsmanager:[\w:/+=.@-]+"
    r"|\b(?:subnet|sg|vpc|fs|eni|vol)-[0-9a-f]{8,17}\b"
    r"|\"Version\":\s*\"2012-10-17\""
)


def kinds(text: str) -> list[str]:
    """What ``text`` looks like holding, each kind once."""
    plain = _AWS_ID.sub("", text)
    return list(dict.fromkeys(one.kind for one in DETECTORS if one.pattern.search(plain)))


def redact(line: str) -> str:
    """A log line with everything that looks like a secret or a patient's identity replaced by its kind."""
    found = sorted((hit.start(), -hit.end(), one.kind) for one in DETECTORS for hit in one.pattern.finditer(line))
    parts, end = [], 0
    for start, minus_stop, kind in found:
        if start >= end:
            parts += [line[end:start], f"[{kind}]"]
        # What overlaps an earlier finding is part of it.
        end = max(end, -minus_stop)
    return "".join(parts) + line[end:]
