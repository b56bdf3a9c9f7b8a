"""Startup and shutdown: hooks in order of registration, the state, the lifespan context manager."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any

from .errors import ConfigError, StartError
from .hints import summarise
from .routing import place_of
from .signatures import check_hook

logger = logging.getLogger("cello")

Hook = Callable[..., Any]


class State(SimpleNamespace):
    """An attribute bag that startup hooks fill: ``app.state.db = ...``."""

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(sorted(vars(self))) or "nothing"
        raise AttributeError(f"app.state has no {name!r}; startup hooks have set {known}")


class Lifespan:
    """The hooks of an application; ``startup`` and ``shutdown`` run them, each at most once a run."""

    def __init__(self) -> None:
        self.state = State()
        self.context_manager: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None
        self._startup: list[Hook] = []
        self._shutdown: list[Hook] = []
        self._entered: AbstractAsyncContextManager[Any] | None = None

    def add(self, event: str, hook: Hook) -> None:
        """Register a hook for "startup" or "shutdown"; it takes no argument, or the application."""
        check_event(event)
        check_hook(event, hook)
        (self._startup if event == "startup" else self._shutdown).append(hook)

    async def startup(self, app: Any) -> None:
        """Enter the lifespan, then run the startup hooks; raises StartError naming the one that failed."""
        current: Any = self.context_manager
        try:
            if self.context_manager is not None:
                entering = self.context_manager(app)
                await entering.__aenter__()
                self._entered = entering
            for current in self._startup:
                await _call(current, app)
        except Exception as exc:
            logger.exception("the startup hook %s failed", place_of(current))
            await self._leave()
            raise StartError(f"the startup hook {place_of(current)} failed: {summarise(exc)}") from exc
        except BaseException:  # cancelled
            await self._leave()
            raise

    async def shutdown(self, app: Any) -> None:
        """Run the shutdown hooks, last registered first, then leave the lifespan; errors are only logged."""
        for hook in reversed(self._shutdown):
            try:
                await _call(hook, app)
            except Exception:  # one hook's failure must not keep the others from cleaning up
                logger.exception("the shutdown hook %s failed", place_of(hook))
        await self._leave()

    async def _leave(self) -> None:
        """Leave the lifespan, if it was entered."""
        entered, self._entered = self._entered, None
        if entered is not None:
            try:
                await entered.__aexit__(None, None, None)
            except Exception:  # the process ends, or fails to start, for a reason of its own
                logger.exception("leaving app.lifespan failed")


def check_event(event: Any) -> None:
    """Check the name of an event; raises ConfigError."""
    if event not in ("startup", "shutdown"):
        raise ConfigError(f'on_event() takes "startup" or "shutdown", got {event!r:.80}')


async def _call(hook: Hook, app: Any) -> None:
    takes_app = any(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
        for parameter in inspect.signature(hook).parameters.values()
    )
    result = hook(app) if takes_app else hook()
    if inspect.isawaitable(result):
        await result
