"""Mirrors answered requests to the canary and its control group, and compares the predictions of the two versions.

No user's request waits for it: a request is queued after its response is written, and dropped and counted when the
queue is full or the rate is exceeded. Mirroring costs processor time, which `shadow_rate` bounds.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from iris_inference.logs import fields
from iris_inference.model.prediction import Prediction, classes_of
from iris_inference.model.runtime import Instance
from iris_inference.settings import Settings
from iris_inference.shadow import shadow_token
from iris_inference.shadow.config import ShadowConfig, ShadowConfigError, ShadowTarget, read_config
from iris_inference.shadow.http_client import HttpClient, NoResponseError, NotSentError
from iris_inference.shadow.metrics import SenderMetrics, SendResult
from iris_inference.shadow.mirrored_request import (
    LABEL_RESULTS,
    MirroredRequest,
    compare_labels,
    decode_response,
    encode_request,
)

log = logging.getLogger(__name__)

# Mirrored requests in flight to each target. A slow canary gets fewer of them, not more at the same time.
_CONNECTIONS: Final = 4
# Short compared with the minute that the kubelet takes to update a ConfigMap in a pod.
_RELOAD_SECONDS: Final = 1.0


class KeyDigests(Protocol):
    """Knows the digests of API keys."""

    def digest_of(self, key_id: str) -> bytes | None:
        """The salted digest of a key; None when it is unknown."""
        ...


class ShadowSender:
    """Mirrors requests as the shadow config says. Belongs to one event loop. `uniform` gives numbers in [0, 1)."""

    def __init__(
        self,
        settings: Settings,
        file: Path,
        classes: Sequence[str],
        metrics: SenderMetrics,
        key_digests: KeyDigests | None,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """`file` is the shadow config. `key_digests` is None when no keys are needed."""
        self.enabled = False
        self._file = file
        self._revision = settings.revision
        self._timeout_seconds = settings.shadow_timeout_seconds
        self._queue_limit = settings.shadow_queue
        self._rate_limiter = _RateLimiter(settings.shadow_rate)
        self._classes = tuple(classes)
        self._metrics = metrics
        self._key_digests = key_digests
        self._random = uniform
        self._config: ShadowConfig | None = None
        self._config_error = ""
        self._queue: asyncio.Queue[MirroredRequest] = asyncio.Queue()
        # The bound of the queue is in instances: requests are of very different sizes.
        self._queued_instances = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def canary(self) -> str:
        """See `RequestMirror`."""
        return self._config.canary.revision if self._config else ""

    def open(self) -> None:
        """Begin to read the config and to send."""
        self._reload()
        self._tasks = [
            asyncio.create_task(self._watch(), name="shadow-config"),
            *(asyncio.create_task(self._send_queued(), name="shadow-send") for _ in range(_CONNECTIONS)),
        ]

    async def close(self) -> None:
        """Stop sending. Queued requests are dropped: the users have their responses."""
        self.enabled = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while not self._queue.empty():
            self._drop(self._queue.get_nowait().config)

    def enqueue(
        self, state: Mapping[str, Any], instances: Sequence[Instance], predictions: Sequence[Prediction] | None
    ) -> None:
        """See `RequestMirror`."""
        config = self._config
        if config is None or self._random() >= config.share:
            return
        is_full = self._queued_instances + len(instances) > self._queue_limit
        if is_full or not self._rate_limiter.allows(time.monotonic(), len(config.targets)):
            self._drop(config)
            return
        classes = self._classes
        labels = None if predictions is None else [classes[class_index] for class_index in classes_of(predictions)]
        self._queued_instances += len(instances)
        self._queue.put_nowait(MirroredRequest(config, state["request_id"], state.get("key_id"), instances, labels))

    def record_label(self, canary: str, *, stable_correct: bool, canary_correct: bool) -> None:
        """See `RequestMirror`."""
        self._metrics.add(canary, LABEL_RESULTS[stable_correct, canary_correct])

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            self._reload()

    def _reload(self) -> None:
        """Read the config again. An invalid one stops the mirroring: the intent is unknown."""
        try:
            config, error_text = read_config(self._file), ""
        except ShadowConfigError as error:
            config, error_text = None, str(error)
        if error_text and error_text != self._config_error:
            log.error(
                "requests are not mirrored: the shadow config is invalid",
                extra=fields(file=str(self._file), error=error_text),
            )
        self._config_error = error_text
        if config is not None and config.canary.revision == self._revision:
            # This pod is the canary: it has the same file as stable, and must not mirror requests to itself.
            config = None
        if config != self._config:
            self._apply(config)

    def _apply(self, config: ShadowConfig | None) -> None:
        self._config = config
        # A pod of the control group gets mirrored requests, too. Labels that arrive at it count all the same.
        is_control = config is not None and config.control is not None and config.control.revision == self._revision
        self.enabled = config is not None and config.share > 0 and not is_control
        if config is None:
            self._metrics.stop()
            log.info("requests are no longer mirrored")
        else:
            canary, control = config.canary, config.control
            self._metrics.start(canary.revision, config.share, control.revision if control else "")
            details = fields(
                canary=canary.revision,
                control=control.revision if control else "",
                share=config.share,
                host=canary.host,
                port=canary.port,
            )
            log.info(
                "requests are mirrored"
                if self.enabled
                else "no requests are mirrored from here: only labels are compared",
                extra=details,
            )

    async def _send_queued(self) -> None:
        """Send queued requests, over one connection to each target."""
        clients: dict[ShadowTarget, HttpClient] = {}
        try:
            while True:
                request = await self._queue.get()
                self._queued_instances -= len(request.instances)
                targets = request.config.targets
                if request.config.canary.revision != self.canary:
                    # The config has changed meanwhile.
                    self._drop(request.config)
                    continue
                for former in clients.keys() - set(targets):
                    clients.pop(former).close()
                for target in set(targets) - clients.keys():
                    clients[target] = HttpClient(target.host, target.port)
                await self._send_to_all(clients, request)
        finally:
            for client in clients.values():
                client.close()

    def _drop(self, config: ShadowConfig) -> None:
        for target in config.targets:
            self._metrics.add(target.revision, SendResult.DROPPED)

    async def _send_to_all(self, clients: Mapping[ShadowTarget, HttpClient], request: MirroredRequest) -> None:
        """Send one request to all targets at the same time: both arms of the comparison have the same load.

        Each is counted once, whatever its result.
        """
        pending = set(request.config.targets)

        async def send(target: ShadowTarget) -> None:
            result, labels = await self._send(clients[target], target, request)
            pending.remove(target)
            self._count(target, request, result, labels)

        try:
            await asyncio.gather(*map(send, request.config.targets))
        finally:
            # Mirroring is being stopped.
            for target in pending:
                self._metrics.add(target.revision, SendResult.DROPPED)

    async def _send(
        self, client: HttpClient, target: ShadowTarget, request: MirroredRequest
    ) -> tuple[SendResult, Sequence[str] | None]:
        """Send one request to one target: its result, and the labels of the response, when there are any."""
        try:
            encoded = encode_request(request, target, self._token(target, request))
            async with asyncio.timeout(self._timeout_seconds):
                return decode_response(await client.send(encoded), len(request.instances))
        except TimeoutError:
            return SendResult.TIMEOUT, None
        except NotSentError:
            return SendResult.UNREACHABLE, None
        except NoResponseError:
            return SendResult.FAILED, None
        except Exception:
            # An exception that ended this task would leave one connection less for the requests to come.
            log.exception("a mirrored request could not be sent")
            return SendResult.FAILED, None

    def _count(
        self, target: ShadowTarget, request: MirroredRequest, result: SendResult, labels: Sequence[str] | None
    ) -> None:
        self._metrics.add(target.revision, result)
        # A request that was not sent, or was rejected, says nothing about either version. The control group runs
        # stable's version, whose predictions are no news.
        if target == request.config.canary and result not in (SendResult.UNREACHABLE, SendResult.REFUSED):
            self._metrics.add(target.revision, compare_labels(request.labels, labels))

    def _token(self, target: ShadowTarget, request: MirroredRequest) -> str:
        now = int(time.time())
        digest = self._key_digests.digest_of(request.key_id) if self._key_digests and request.key_id else None
        if digest is None or request.key_id is None:
            return shadow_token.unsigned(target.revision, now)
        return shadow_token.signed(target.revision, now, request.key_id, digest, request.request_id)


class _RateLimiter:
    """A token bucket: `rate` requests a second, and as many at once after a pause, but always one to each target."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._updated_at = float("-inf")

    def allows(self, now: float, requests: int) -> bool:
        """May so many requests be sent now?"""
        self._tokens = min(max(self._rate, requests), self._tokens + (now - self._updated_at) * self._rate)
        self._updated_at = now
        if self._tokens < requests:
            return False
        self._tokens -= requests
        return True
