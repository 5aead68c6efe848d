"""What a client is told, and what stops the server: sentences, never a traceback."""

from __future__ import annotations


class Refusal(Exception):
    """A request that is not answered with a prediction.

    Args:
        status: HTTP status.
        sentence: all that the client is told; it names no file and quotes nothing of the request's content.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class StartError(Exception):
    """The server cannot start; the message is one sentence."""
