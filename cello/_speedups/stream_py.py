"""The answer's side of an exchange, as the dispatch core drives it: the base of every adapter's stream.

The verbs and their meaning stand in types.Stream. A class, and not only a Protocol, because a compiled caller
reaches the compiled ``respond`` of a compiled adapter without a Python call.
"""

from __future__ import annotations


class AnswerStream:
    """Base of the streams of all adapters."""

    __slots__ = ()

    def respond(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, length: int) -> None:
        """Send a whole answer in one write; see types.Stream."""
        raise NotImplementedError(f"{type(self).__name__} has no respond()")
