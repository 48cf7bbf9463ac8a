"""What stands at the entrance, whichever protocol a request comes by."""

from __future__ import annotations

import time
from dataclasses import dataclass

from service.api.keys import Keys, find_admin_keys, find_keys
from service.api.loop_watch import LoopWatch
from service.api.parsing import ParsingLanes
from service.serving.runtime import Runtime
from service.serving.timer import LoopTimer


@dataclass(frozen=True, slots=True)
class Entrance:
    """What the servers of a service share; lives on the event loop.

    Attributes:
        keys: of clients; None where nobody needs one.
        admin_keys: of who may change what is served; None where nobody may.
        watch: on the event loop, while requests are inside.
        lanes: in which large messages are parsed.
    """

    keys: Keys | None
    admin_keys: Keys | None
    watch: LoopWatch
    lanes: ParsingLanes


def build_entrance(runtime: Runtime) -> Entrance:
    """Put an entrance together.

    Raises:
        BadSetting: there shall be keys, and cannot.
    """
    settings, metrics = runtime.settings, runtime.metrics
    return Entrance(
        find_keys(settings, metrics, time.monotonic),
        find_admin_keys(settings, metrics, time.monotonic),
        LoopWatch(LoopTimer(), metrics.loop_lag.observe),
        ParsingLanes(),
    )
