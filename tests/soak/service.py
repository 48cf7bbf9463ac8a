"""The service of a soak: the real one, whose engine dies when it is told to.

SIGUSR2 ends the engine's thread in its next pass. SIGUSR1 gives everything back to the system that
can be given back - collected garbage, and pages that the allocator keeps - and says so in a line:
what the process holds then is held by the service.
"""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from service.config import Settings, bound_openmp_waiting

bound_openmp_waiting()

from service.commands.contents import load_contents  # noqa: E402 - these load torch
from service.commands.serve import serve  # noqa: E402
from service.engines.base import Engine, EngineDescription, EngineOutputs, Row  # noqa: E402
from service.engines.calibration import plan_with_pictures  # noqa: E402
from service.engines.plan import EnginePlan  # noqa: E402
from service.logs import configure_logs  # noqa: E402
from service.serving.runtime import build_runtime  # noqa: E402
from service.store.load import LoadedModel  # noqa: E402

TRIMMED = "trimmed"


class MortalEngine:
    """An engine, until it is told to die."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_doomed = False

    @property
    def description(self) -> EngineDescription:
        """The engine's."""
        return self._engine.description

    def load(self) -> None:
        """Load the engine."""
        self._engine.load()

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """The engine's."""
        return self._engine.warm_up_sizes(max_batch)

    def collate(self, rows: Sequence[Row]) -> Any:
        """Have the engine collate."""
        return self._engine.collate(rows)

    def infer(self, batch: Any, extras: frozenset[str]) -> EngineOutputs:
        """Run the engine, or end its thread as a crash in native code would."""
        if self.is_doomed:
            self.is_doomed = False
            raise SystemExit
        return self._engine.infer(batch, extras)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


def main() -> int:
    """Serve by the environment's settings, as `sge-serve serve` does."""
    settings = Settings()
    configure_logs(settings.log_level, settings.log_format)
    engines: list[MortalEngine] = []

    def plan(model: LoadedModel, settings: Settings) -> EnginePlan:
        planned = plan_with_pictures(model, settings, in_background=True)
        engine = MortalEngine(planned.final)
        engines.append(engine)
        first = engine if planned.first is planned.final else planned.first
        return replace(planned, first=first, final=engine)

    def doom(*_: object) -> None:
        for engine in engines:
            engine.is_doomed = True

    signal.signal(signal.SIGUSR1, lambda *_: give_back())
    signal.signal(signal.SIGUSR2, doom)
    return serve(build_runtime(settings, load_contents(settings, say), plan), 0, say)


def give_back() -> None:
    """Give the system back what nobody holds."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    say(TRIMMED)


def say(text: str) -> None:
    """Tell whoever soaks."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
