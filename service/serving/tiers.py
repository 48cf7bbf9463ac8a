"""Where the engine of a model stands."""

from __future__ import annotations

from typing import Literal

Tier = Literal["loading", "first", "final", "fallback", "restarting"]
"""Where a model's engine stands.

`loading`: no engine answers yet. `first`: a quick engine answers while the final one is built.
`final`: the engine that was asked for. `fallback`: it could not be built, the quick one stays.
`restarting`: the engine crashed and is being brought back.
"""
READY_TIERS: tuple[Tier, ...] = ("first", "final", "fallback")
