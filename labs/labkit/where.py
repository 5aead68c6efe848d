"""Where a lab's data lie and its jobs run: what DATA and COMPUTE may say."""

from __future__ import annotations

from scripts.errors import InputError

EMBEDDED = "embedded"
S3 = "s3://"
LOCAL, SAGEMAKER = "local", "sagemaker"


class UnknownPlace(InputError):
    """A COMPUTE that is no place to run; the message says which there are."""

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this: the frames of labkit say nothing about a misspelt word.
        return [str(self)]


def runs_in_account(compute: str) -> bool:
    """Whether a lab's ``COMPUTE`` asks for the learner's account, which costs money, or for this machine.

    Raises:
        UnknownPlace: it is neither word. Taken for local, a lab would have shown nothing of what was asked for.
    """
    if compute not in (LOCAL, SAGEMAKER):
        raise UnknownPlace(
            f"COMPUTE is {compute!r}, {LOCAL} or {SAGEMAKER} was wanted; write one of them in the cell of parameters, "
            "and run the lab from there."
        )
    return compute == SAGEMAKER
