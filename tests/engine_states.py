"""Where the engine of a running service stands, as `until` asks."""

from __future__ import annotations

from tests.running import Running


async def is_ready(service: Running) -> bool:
    """Whether requests may be sent."""
    return (await service.client.get("/readyz")).status_code == 200


async def tier_of(service: Running) -> str:
    """Where the engine of the model stands."""
    tier: str = (await service.client.get("/v1/models/tiny")).json()["engine"]["tier"]
    return tier


async def has_tier(service: Running, tier: str) -> bool:
    """Whether the engine of the model stands there."""
    return await tier_of(service) == tier
