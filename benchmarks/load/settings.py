"""How a run is done; written into its results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The knobs of a run, the same for every contender."""

    rounds: int
    seconds: int
    warmup_seconds: int
    connections: int
    idle_connections: int
    server_core: int
    load_core: int
    counts_instructions: bool
