"""Shared aliases and Protocols: what the layers promise each other.

The exchange (docs/architecture.md) is the one contract between protocols and the application: an adapter
calls ``Dispatch.begin`` once per request and the verbs of the ``Exchange`` that it returns; the application
answers through the verbs of ``Stream``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

Fields = list[tuple[bytes, bytes]]
"""Header or trailer fields for the wire: lower-case names, values without CR, LF or NUL, in order."""

Handler = Callable[..., Any]

LogFormat = str | Callable[[Any], str | None] | logging.Handler
"""What run() takes as ``log_format``; see server/access_log.py."""


class Clock(Protocol):
    """A source of monotonic seconds."""

    def __call__(self) -> float: ...


class Stream(Protocol):
    """What an adapter offers for the answer of one exchange.

    Either ``respond`` once, or ``head``, any number of ``data``, then ``end``. After the exchange was
    cancelled the dispatch core calls none of these.
    """

    def respond(self, status: int, fields: Fields, body: bytes, length: int) -> None:
        """Send a whole answer in one write.

        ``length`` is the Content-Length to announce, -1 for none (204, 304); ``body`` is empty where the
        answer has none (HEAD), whatever ``length`` says.
        """

    def inform(self, status: int) -> None:
        """Send an interim (1xx) answer, such as 100 Continue."""

    def head(self, status: int, fields: Fields, length: int, has_body: bool) -> None:
        """Send the head of a streamed answer; ``length`` is its Content-Length, or -1 when unknown."""

    def data(self, chunk: bytes) -> None:
        """Send a piece of the body; await ``drain`` before the next."""

    def end(self) -> None:
        """End a streamed answer."""

    def reset(self, reason: str) -> None:
        """Give up on an answer that has begun: the client sees a broken message, never a short one."""

    async def drain(self) -> None:
        """Wait until the transport holds less than its high-water mark; raises ClientDisconnected."""

    def pause(self) -> None:
        """Ask the peer to send no more of the request's body for now."""

    def resume(self) -> None:
        """Take up the request's body again."""

    def is_disconnected(self) -> bool:
        """Tell whether the client has left or has ended its side."""


class Exchange(Protocol):
    """One request in, one response out, as the adapter drives it."""

    def feed(self, chunk: bytes) -> None:
        """Take a piece of the request's body."""

    def end(self) -> None:
        """The request's body is complete."""

    def cancel(self, reason: str) -> None:
        """The client has left: stop the handler and send nothing more."""

    def expire(self) -> None:
        """response_timeout has passed: answer 504, or break off an answer that has begun."""


class Dispatch(Protocol):
    """The dispatch core as adapters see it."""

    def begin(self, request: Any, stream: Stream) -> Exchange | None:
        """Start an exchange; never blocks, never raises.

        Returns None when the answer has already been given in whole, else the exchange that runs.
        """

    def refuse(self, request: Any | None, stream: Stream, status: int, detail: str) -> None:
        """Answer a request that the protocol layer refuses (400, 408, 413, 431, 503, 505, ...)."""
