"""The shell beside an engine: pulls a task for each free slot, keeps leases, tells how it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Final
from urllib.parse import urlsplit

from worker_embed.config import WorkerConfig
from worker_embed.engines.port import Engine, Unavailable
from worker_embed.gate import Gate
from worker_embed.inflight import Inflight
from worker_embed.queue.port import Delivery, Intake, Queue, QueueError, TopicSpec
from worker_embed.replies import Replies
from worker_embed.reply import Stop
from worker_embed.report import WorkerBeat
from worker_embed.reporter import Reporter
from worker_embed.tally import Tally
from worker_embed.task_run import TOO_OFTEN, Limits, Shop, TaskRun, admit
from worker_embed.usage_log import UsageLog
from worker_embed.wire import ErrorKind

QUEUE_RETRY_S: Final = 1.0
BEAT_S: Final = 1.0
STEADY_S: Final = 60.0
"""An engine that ran this long has had its restarts forgotten."""
LONGEST_RESTART_S: Final = 30.0
LAST_WORDS_S: Final = 5.0
"""For tasks that are given back to tell node and queue."""

log = logging.getLogger("worker")


class Worker:
    """One consumer of one model's topic, with one engine."""

    def __init__(
        self, config: WorkerConfig, queue: Queue, engine: Engine, reporter: Reporter, limits: Limits | None = None
    ) -> None:
        self._config, self._queue, self._engine, self._reporter = config, queue, engine, reporter
        self._limits = limits or Limits()
        self._gate = Gate()
        self._records = UsageLog(queue, config.result_topic)
        self._inflight = Inflight(config.inflight)
        self._stopping, self._hurry = asyncio.Event(), asyncio.Event()
        self._wake, self._shut = asyncio.Event(), asyncio.Event()
        self._intake: Intake | None = None
        self._tally = Tally()
        self._runs: set[TaskRun] = set()
        self._serving: dict[asyncio.Task[None], Delivery] = {}
        self._granted = 0
        self._up = self._queue_lost = False

    def stop(self) -> None:
        """Take no more tasks, finish those that run, and let `run` return; a second time: do not even finish them."""
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    async def run(self) -> None:
        """Serve until `stop`; raises `EngineFailed` when the engine cannot be started."""
        replies = Replies()
        stopping = asyncio.create_task(self._stopping.wait())
        work = (self._run_engine(), self._take(replies), self._fill(), self._reopen())
        care = (self._watch_queue(), self._hold_leases(), self._beat())
        jobs = [asyncio.create_task(job) for job in (*work, *care)]
        try:
            self._tell()
            done, _ = await asyncio.wait({*jobs, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping not in done:
                self._stopping.set()
                self._hurry.set()
            await self._drain()
            for job in done - {stopping}:
                await job
        finally:
            for job in (*jobs, stopping):
                job.cancel()
            await asyncio.gather(*jobs, stopping, return_exceptions=True)
            await self._leave(replies)

    @property
    def _room(self) -> int:
        """How many tasks may run at once now."""
        if self._stopping.is_set() or not self._up:
            return 0
        return self._gate.room(self._engine.slots, time.monotonic())

    async def _run_engine(self) -> None:
        """Start the engine, and again whenever it died: at once, then with growing pauses where it does not last."""
        restarts = 0
        while True:
            await self._engine.start()
            began_s = time.monotonic()
            self._up = True
            await self._look()
            self._tell()
            self._wake.set()
            reason = await self._engine.died()
            self._up = False
            self._reporter.change(ErrorKind.GENERAL, f"the engine died: {reason}")
            self._tell()
            restarts = 0 if time.monotonic() - began_s > STEADY_S else restarts
            if restarts:
                await asyncio.sleep(min(LONGEST_RESTART_S, 2.0 ** (restarts - 1)))
            restarts += 1

    async def _take(self, replies: Replies) -> None:
        """Serve each delivery in a task of its own, for ever."""
        intake = self._intake = await self._join()
        shop = Shop(
            config=self._config,
            engine=self._engine,
            records=self._records,
            intake=intake,
            replies=replies,
            served=self._served,
            refused=self._refused,
            draining=self._stopping.is_set,
            limits=self._limits,
            tally=self._tally,
        )
        self._tell()
        self._wake.set()
        while True:
            delivery = await intake.next()
            self._granted = max(0, self._granted - 1)
            self._inflight.add(delivery.token)
            serving = asyncio.create_task(self._serve(delivery, shop))
            self._serving[serving] = delivery
            serving.add_done_callback(self._done)

    async def _join(self) -> Intake:
        """The intake of our topic; waits for a broker that is away."""
        topic = f"model-{self._config.model}"
        while True:
            try:
                await self._queue.ensure(TopicSpec(topic=self._config.result_topic))
                await self._queue.ensure(TopicSpec(topic=topic))
                return await self._queue.consume(topic, self._config.replica)
            except QueueError as error:
                log.warning("%s", error)
                await asyncio.sleep(QUEUE_RETRY_S)

    async def _serve(self, delivery: Delivery, shop: Shop) -> None:
        try:
            if len(self._serving) > self._room:
                delay_s = 0.0 if self._stopping.is_set() else self._limits.give_back_s
                await shop.intake.nack(delivery, delay_s=delay_s)
            elif task := await admit(delivery, shop):
                run = TaskRun(delivery, task, shop)
                self._runs.add(run)
                try:
                    await run.run()
                finally:
                    self._runs.discard(run)
        except QueueError as error:
            log.warning("%s: the queue could not be told how it ended: %s", delivery.id, error)
        except Exception as defect:
            log.exception("%s: a defect of the worker", delivery.id)
            reason = f"a defect of the worker: {type(defect).__name__}"
            with contextlib.suppress(QueueError):
                if delivery.attempt < self._config.max_attempts:
                    await shop.intake.nack(delivery, delay_s=self._limits.retry_s, failed=reason)
                else:
                    await shop.intake.dead(delivery, reason=TOO_OFTEN, error=reason)

    def _done(self, serving: asyncio.Task[None]) -> None:
        self._inflight.remove(self._serving.pop(serving).token)
        self._wake.set()

    async def _fill(self) -> None:
        """Ask for a task for each free slot, whenever something changed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            free = self._room - len(self._serving) - self._granted
            if self._intake is None or free <= 0:
                continue
            self._granted += free
            try:
                await self._intake.grant(free)
            except QueueError as error:
                log.warning("%s", error)
                self._granted -= free
                await asyncio.sleep(QUEUE_RETRY_S)
                self._wake.set()

    async def _reopen(self) -> None:
        """When an engine's pause is over, look at it, and let the next request through."""
        while True:
            await self._shut.wait()
            self._shut.clear()
            while (pause_s := self._gate.resume_s - time.monotonic()) > 0:
                await asyncio.sleep(pause_s)
                await self._look()
            self._tell()
            self._wake.set()

    async def _look(self) -> None:
        try:
            await self._engine.check()
        except Unavailable as why:
            self._refused(why)
        else:
            self._gate.checked()

    def _served(self) -> None:
        if self._gate.problem or self._gate.probing:
            self._gate.served(time.monotonic())
            self._tell()
            self._wake.set()

    def _refused(self, why: Unavailable) -> None:
        pause_s = self._gate.refused(why, time.monotonic())
        log.info("no tasks for %.1f s: %s", pause_s, why)
        self._tell()
        self._shut.set()

    async def _watch_queue(self) -> None:
        """A queue that is away is an error when it stays away: what runs goes on without it."""
        clock = asyncio.get_running_loop()
        timer = None if self._queue.connected else clock.call_later(self._limits.queue_lost_s, self._queue_gone)
        async for back in self._queue.lost():
            if timer is not None:
                timer.cancel()
            timer = None if back else clock.call_later(self._limits.queue_lost_s, self._queue_gone)
            if back:
                self._queue_lost = False
                self._tell()
                self._wake.set()

    def _queue_gone(self) -> None:
        self._queue_lost = True
        self._tell()

    async def _hold_leases(self) -> None:
        while True:
            await asyncio.sleep(self._limits.lease_s)
            if self._intake is not None:
                held = [self._intake.extend(delivery) for delivery in self._serving.values()]
                await asyncio.gather(*held, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            ended = self._tally.ended
            figures = await self._engine.figures()
            # What was looked at while an answer ended may hold that answer's tokens, which are booked already.
            if figures.generated is not None and self._tally.ended == ended:
                self._tally.generated(figures.generated)
            self._reporter.beat(
                WorkerBeat(
                    id=self._config.replica,
                    at_s=time.time(),
                    slots=self._engine.slots,
                    busy=len(self._runs),
                    tokens=self._tally.tokens,
                    done=self._tally.done,
                    load_pct=figures.load_pct,
                    kv_pct=figures.kv_pct,
                    engine_pid=figures.pid,
                )
            )
            await asyncio.sleep(BEAT_S)

    def _tell(self) -> None:
        """Report the state that matters most."""
        if self._stopping.is_set():
            self._reporter.change("Draining")
        elif self._queue_lost:
            self._reporter.change(
                ErrorKind.QUEUE_CONNECTION, f"no connection to the queue at {urlsplit(self._config.queue_url).hostname}"
            )
        elif not self._up or self._intake is None:
            self._reporter.change("Loading")
        elif self._gate.problem:
            self._reporter.change(*self._gate.problem)
        else:
            self._reporter.change("Ready")

    async def _drain(self) -> None:
        """Let what runs finish; what does not is given back."""
        self._tell()
        hurry = asyncio.create_task(self._hurry.wait())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_s):
                while self._serving and not hurry.done():
                    await asyncio.wait({*self._serving, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        for run in list(self._runs):
            run.stop(Stop.DRAINED)
        if self._serving:
            await asyncio.wait(set(self._serving), timeout=LAST_WORDS_S)
        for serving in list(self._serving):
            serving.cancel()

    async def _leave(self, replies: Replies) -> None:
        with contextlib.suppress(QueueError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                if self._intake is not None:
                    await self._intake.close()
        self._records.close()
        await self._engine.stop()
        await replies.close()
        self._inflight.close()
