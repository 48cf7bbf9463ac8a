"""One model being served: its queue, its engine and where that engine stands."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import structlog

from service.engines.base import Engine, EngineDescription, warm_up
from service.engines.plan import EnginePlan
from service.errors import EngineFailed, NotReady
from service.model.resnet import FEATURES, BlockShape
from service.results.attribution import Classifier
from service.results.attribution_request import ClassNames
from service.results.masks import Gate
from service.serving.batch_account import BatchAccount
from service.serving.batch_policy import Limits
from service.serving.batcher import Batcher
from service.serving.device_backlog import DeviceBacklog
from service.serving.tiers import READY_TIERS, Tier
from service.serving.timer import LoopTimer
from service.serving.worker_thread import WorkerThread
from service.store.load import LoadedModel

log = structlog.stdlib.get_logger(__name__)


class ServedModel:
    """One model version with everything that answers for it; lives on the event loop.

    Args:
        loaded: what the store loaded.
        plan: its engines.
        device: the thread on which they run.
        builder: the thread on which they are built.
        collate_thread: the thread on which batches are stacked.
        limits: of its batches.
        backlog: of the device, which all models share.
        account: of its batches; its numbers go to the same metrics.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        plan: EnginePlan,
        *,
        device: WorkerThread,
        builder: WorkerThread,
        collate_thread: Executor,
        limits: Limits,
        backlog: DeviceBacklog,
        account: BatchAccount,
    ) -> None:
        self.loaded = loaded
        self.tier: Tier = "loading"
        self.name = loaded.manifest.name
        self.version = loaded.manifest.version
        self.blocks: Sequence[BlockShape] = loaded.manifest.spec.blocks()
        self.gates = {block.name: gate_of(loaded, block.name) for block in self.blocks}
        self.classifier = classifier_of(loaded)
        self.class_names = ClassNames(loaded.labels)
        self.max_batch = limits.max_batch
        self._plan = plan
        self.fallback_reason: str | None = None
        self._changing = asyncio.Lock()  # of the engine, by `finish` and by `restart`
        self.device = device
        self._builder = builder
        self._metrics = account.metrics
        self.is_withdrawn = False
        self.account = account
        self.batcher = Batcher(
            plan.first,
            device,
            collate_thread,
            limits,
            backlog=backlog,
            timer=LoopTimer(),
            observer=self.account,
        )

    @property
    def metric_labels(self) -> tuple[str, str]:
        """Its name and version, as every metric of a model is labelled."""
        return self.name, self.version

    @property
    def engine(self) -> EngineDescription:
        """The engine that the next batch will meet."""
        return self.batcher.engine.description

    @property
    def final_engine(self) -> EngineDescription:
        """The engine that was asked for."""
        return self._plan.final.description

    def must_compile(self) -> bool:
        """Whether a process has to compile its final engine before that can run; reads files."""
        return self._plan.must_compile()

    @property
    def is_final(self) -> bool:
        """Whether the next batch will meet the engine that was asked for."""
        return self.batcher.engine is self._plan.final

    @property
    def is_ready(self) -> bool:
        """Whether an engine answers."""
        return self.tier in READY_TIERS and self.device.is_running

    def require_ready(self) -> None:
        """Refuse a request that no engine would answer.

        Raises:
            NotReady: the engine is loading or being restarted.
        """
        if not self.is_ready:
            raise NotReady(f"{self.loaded.key} is {self.tier}", retry_after_s=2.0)

    async def start(self) -> None:
        """Bring up the engine that answers first: the final one where it was built before.

        Raises:
            EngineFailed: none can run.
        """
        if self._plan.load_kept and await self._has_kept(self._plan.load_kept):
            await self.batcher.switch_engine(self._plan.final)
            self._begin_to_answer()
            return
        spares = self._plan.others if self._plan.first is self._plan.final else ()
        for spare in (*spares, None):
            try:
                await self._bring_up(self.batcher.engine)
                break
            except EngineFailed as error:
                if spare is None:
                    raise
                await self._give_up(self.batcher.engine, error)
                await self.batcher.switch_engine(spare)
        self._begin_to_answer()

    def _begin_to_answer(self) -> None:
        self._metrics.watch_queue(self.metric_labels, lambda: self.batcher.depth)
        self._enter(self._settled_tier)

    async def _has_kept(self, load_kept: Callable[[], bool]) -> bool:
        """Load what was built before; where that fails, another engine answers meanwhile."""
        try:
            if not (await self._builder.run(load_kept)).result:
                return False
            await self._builder.run(self.warm_up, self._plan.final)
        except EngineFailed as error:
            log.warning("what was built cannot run", model=self.loaded.key, reason=error.message)
            return False
        return True

    async def finish(self) -> None:
        """Build the final engine beside the first, and switch over between two batches.

        An engine that cannot be built is given up for the next one of the plan, in the end for
        the first, which stays.

        Raises:
            EngineFailed: none can be built, and the plan allows no falling back.
        """
        if self.is_final:
            return
        for engine in (self._plan.final, *self._plan.others):
            try:
                await self._bring_up(engine)
            except EngineFailed as error:
                if not self._plan.may_fall_back:
                    await self._close(engine)
                    raise
                await self._give_up(engine, error)
            else:
                await self._switch(engine)
                return
        if self.tier == "first":
            self._enter("fallback")

    async def _bring_up(self, engine: Engine) -> None:
        await self._builder.run(engine.load)
        await self._builder.run(self.warm_up, engine)

    async def _give_up(self, engine: Engine, error: EngineFailed) -> None:
        await self._close(engine)
        name = engine.description.name
        log.warning("engine fell back", model=self.loaded.key, engine=name, reason=error.message)
        self._metrics.engine_fallbacks.labels(*self.metric_labels).inc()
        self.fallback_reason = error.message

    async def _switch(self, engine: Engine) -> None:
        async with self._changing:
            self._retire_info()
            await self.batcher.switch_engine(engine)
            self._enter(self._settled_tier if self.is_ready else "restarting")
            await self._close(self._plan.first)

    async def _close(self, engine: Engine) -> None:
        """Close an engine off the event loop: a GPU may let it wait. What fails is only logged."""
        try:
            await self._builder.run(engine.close)
        except EngineFailed as error:
            log.warning("engine not closed", model=self.loaded.key, reason=error.message)

    async def restart(self) -> None:
        """Warm the engine up again on a new thread, then answer again.

        A model that no crash has stopped is left alone.

        Raises:
            EngineFailed: the engine does not run.
        """
        async with self._changing:
            if self.tier == "restarting":
                await self.device.run(self.warm_up, self.batcher.engine)
                self._enter(self._settled_tier)

    def retire(self) -> None:
        """Stop answering for good, and leave the metrics, which would also keep the weights."""
        self.batcher.close(NotReady(f"{self.loaded.key} is given up", retry_after_s=2.0))
        self.withdraw()

    def withdraw(self) -> None:
        """Leave the metrics to a successor; those who are inside are still answered."""
        self.is_withdrawn = True
        self._retire_info()
        self._metrics.forget_queue(self.metric_labels)

    def expect_times_of(self, other: ServedModel) -> None:
        """Expect batches to take as long as another version's, where that is the same network.

        One slow run alone, as when the machine is short of time just then, would say that nobody
        can be answered in time.
        """
        if (self.loaded.manifest.spec, self.engine) == (other.loaded.manifest.spec, other.engine):
            self.batcher.share.expect_times_of(other.batcher.share)

    async def end(self) -> None:
        """Wait for those who are inside, then stop answering for good; `close` comes next."""
        await self.batcher.share.left.wait()
        self.batcher.close(NotReady(f"{self.loaded.key} has left", retry_after_s=2.0))
        await self.batcher.until_idle()

    async def close(self) -> None:
        """Give back the memory of its engine, which nobody uses any more."""
        await self._close(self.batcher.engine)

    def on_crash(self) -> None:
        """Stop answering: the engine crashed. A model that is loading has nothing to stop."""
        if self.tier == "loading":
            return
        self._enter("restarting")
        self.batcher.fail_queued(
            NotReady(f"the engine of {self.loaded.key} is being restarted", retry_after_s=2.0)
        )

    def warm_up(self, engine: Engine) -> None:
        """Run an engine's batch sizes once, on the thread that is to own it."""
        side = self.loaded.manifest.input.size_px
        extras = frozenset({FEATURES, *(block.name for block in self.blocks)})
        warm_up(engine, (3, side, side), extras, self.max_batch)

    @property
    def _settled_tier(self) -> Tier:
        if self.is_final:
            return "final"
        return "first" if self.fallback_reason is None else "fallback"

    def _enter(self, tier: Tier) -> None:
        self._retire_info()
        self.tier = tier
        if self.is_withdrawn:
            return
        self._metrics.engine_info.labels(*self._info_labels()).set(1)
        log.info("engine", model=self.loaded.key, tier=tier, **dataclasses.asdict(self.engine))

    def _retire_info(self) -> None:
        self._metrics.engine_info.labels(*self._info_labels()).set(0)

    def _info_labels(self) -> tuple[str, ...]:
        return (*self.metric_labels, *dataclasses.astuple(self.engine), self.tier)


def gate_of(loaded: LoadedModel, block: str) -> Gate:
    """The two trained numbers per group that turn a block's similarity into gates."""
    sge = loaded.network.sge_of(block)
    return Gate(gamma=sge.weight.flatten().numpy(), beta=sge.bias.flatten().numpy())


def classifier_of(loaded: LoadedModel) -> Classifier:
    """The layer that turns the mean of the features into logits."""
    fc = loaded.network.fc
    return Classifier.of(fc.weight.numpy(), fc.bias.numpy(), loaded.manifest.groups)
