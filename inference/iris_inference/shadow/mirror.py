"""Sends copies of answered requests to the canary, behind the answers, and compares what the two versions say.

No user's request waits for any of it: a copy is put into a queue after the answer is made, and what finds no room, or
comes too often, is dropped and counted. What copies cost is processor time, and `shadow_rate` bounds it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from iris_inference.logs import fields
from iris_inference.predictions import Prediction, classes_of
from iris_inference.runtime import Instance
from iris_inference.settings import Settings
from iris_inference.shadow import plan as plans
from iris_inference.shadow import ticket
from iris_inference.shadow.copies import LABELLED, Copy, pair, question, understood
from iris_inference.shadow.counts import MirrorCounts, Sent
from iris_inference.shadow.link import Link, NotAnsweredError, NotAskedError
from iris_inference.shadow.plan import Plan, PlanError

log = logging.getLogger(__name__)

# Copies on their way at the same time. A canary that is slow gets fewer of them, not more at once.
_LINKS: Final = 4
# The kubelet takes up to a minute to bring a changed ConfigMap into a pod; this is nothing beside it.
_LOOK_SECONDS: Final = 1.0


class Signer(Protocol):
    """Knows what the database keeps of each key."""

    def digest_of(self, key_id: str) -> bytes | None:
        """The salted digest of a key that is known."""
        ...


class Mirror:
    """Copies as the file says. Belongs to one event loop. `draw` gives numbers from 0 to below 1."""

    def __init__(
        self,
        settings: Settings,
        file: Path,
        classes: Sequence[str],
        counts: MirrorCounts,
        signer: Signer | None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`file` is where the plan is. `signer` is None where no keys are needed."""
        self.on = False
        self._file = file
        self._revision = settings.revision
        self._seconds = settings.shadow_timeout_seconds
        self._room = settings.shadow_queue
        self._pace = _Pace(settings.shadow_rate)
        self._classes = tuple(classes)
        self._counts = counts
        self._signer = signer
        self._draw = draw
        self._plan: Plan | None = None
        self._problem = ""
        self._waiting: asyncio.Queue[Copy] = asyncio.Queue()
        # Flowers in the queue: requests are of very different sizes.
        self._flowers = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def canary(self) -> str:
        """See `Mirroring`."""
        return self._plan.revision if self._plan else ""

    def open(self) -> None:
        """Begin to look at the file, and to send."""
        self._look()
        self._tasks = [
            asyncio.create_task(self._watch(), name="shadow-plan"),
            *(asyncio.create_task(self._send(), name="shadow-copies") for _ in range(_LINKS)),
        ]

    async def close(self) -> None:
        """Send no more. What waits is dropped: the users have their answers."""
        self.on = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while not self._waiting.empty():
            self._counts.add(self._waiting.get_nowait().plan.revision, Sent.DROPPED)

    def offer(
        self, state: Mapping[str, Any], instances: Sequence[Instance], predictions: Sequence[Prediction] | None
    ) -> None:
        """See `Mirroring`."""
        plan = self._plan
        if plan is None or self._draw() >= plan.share:
            return
        if self._flowers + len(instances) > self._room or not self._pace.allows(time.monotonic()):
            self._counts.add(plan.revision, Sent.DROPPED)
            return
        classes = self._classes
        labels = None if predictions is None else [classes[class_index] for class_index in classes_of(predictions)]
        self._flowers += len(instances)
        self._waiting.put_nowait(Copy(plan, state["request_id"], state.get("key_id"), instances, labels))

    def labelled(self, canary: str, *, stable_right: bool, canary_right: bool) -> None:
        """See `Mirroring`."""
        self._counts.add(canary, LABELLED[stable_right, canary_right])

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        """Do as the file says now. One that is no plan stops everything: nobody knows what was meant."""
        try:
            plan, problem = plans.read(self._file), ""
        except PlanError as error:
            plan, problem = None, str(error)
        if problem and problem != self._problem:
            log.error("no requests are copied: the file is no plan", extra=fields(file=str(self._file), error=problem))
        self._problem = problem
        if plan is not None and plan.revision == self._revision:
            # This pod is the canary, or was it: its file is the same as stable's, and it must not ask itself.
            plan = None
        if plan != self._plan:
            self._adopt(plan)

    def _adopt(self, plan: Plan | None) -> None:
        self._plan = plan
        self.on = plan is not None and plan.share > 0
        if plan is None:
            self._counts.end()
            log.info("no requests are copied any more")
        else:
            self._counts.begin(plan.revision, plan.share)
            told = fields(canary=plan.revision, share=plan.share, host=plan.host, port=plan.port)
            log.info("requests are copied" if self.on else "requests are compared, and not copied now", extra=told)

    async def _send(self) -> None:
        """Send one copy after the other over one connection."""
        link = Link("", 0)
        to = ("", 0)
        try:
            while True:
                copy = await self._waiting.get()
                self._flowers -= len(copy.instances)
                if copy.plan.revision != self.canary:
                    # The plan has changed while it waited.
                    self._counts.add(copy.plan.revision, Sent.DROPPED)
                    continue
                if to != (copy.plan.host, copy.plan.port):
                    link.close()
                    to = copy.plan.host, copy.plan.port
                    link = Link(*to)
                await self._try(link, copy)
        finally:
            link.close()

    async def _try(self, link: Link, copy: Copy) -> None:
        """Send one copy and count what comes of it, whatever that is."""
        canary = copy.plan.revision
        try:
            asked = question(copy, self._ticket(copy))
            async with asyncio.timeout(self._seconds):
                sent, labels = understood(await link.ask(asked), len(copy.instances))
        except asyncio.CancelledError:
            self._counts.add(canary, Sent.DROPPED)
            raise
        except TimeoutError:
            sent, labels = Sent.TIMEOUT, None
        except NotAskedError:
            sent, labels = Sent.UNREACHABLE, None
        except NotAnsweredError:
            sent, labels = Sent.FAILED, None
        except Exception:
            # One that ended here would leave a connection less for all that comes.
            log.exception("a copy could not be sent")
            sent, labels = Sent.FAILED, None
        self._counts.add(canary, sent)
        # Of what nobody was asked, or was not let in with, no version can be said to have failed.
        if sent not in (Sent.UNREACHABLE, Sent.REFUSED):
            self._counts.add(canary, pair(copy.labels, labels))

    def _ticket(self, copy: Copy) -> str:
        now = int(time.time())
        digest = self._signer.digest_of(copy.key_id) if self._signer and copy.key_id else None
        if digest is None or copy.key_id is None:
            return ticket.unsigned(copy.plan.revision, now)
        return ticket.signed(copy.plan.revision, now, copy.key_id, digest, copy.request_id)


class _Pace:
    """Lets so many a second through, and that many at once after a rest."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = rate
        self._at = float("-inf")

    def allows(self, now: float) -> bool:
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
