"""What people read: Kubernetes events on the release, and the same words in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.api import names
from iris_operator.engine.release import Release
from iris_operator.rollout.decision import Notice

log = logging.getLogger(__name__)

_MESSAGE_LIMIT = 1024


class KubernetesEvents:
    """Implements `engine.ports.Audience`."""

    def __init__(self, api: KubernetesApi, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock

    async def tell(self, release: Release, notice: Notice) -> None:
        """See `Audience.tell`."""
        level = logging.WARNING if notice.warning else logging.INFO
        where = {"namespace": release.namespace, "release": release.name, "reason": notice.reason}
        log.log(level, notice.message, extra=where)
        try:
            await self._api.create(self._event(release, notice))
        except Exception as error:  # noqa: BLE001 - a lost event must not stop a rollback
            log.warning("event %s was not stored: %s", notice.reason, error, extra=where)

    def _event(self, release: Release, notice: Notice) -> dict[str, object]:
        now = self._clock().isoformat(timespec="seconds").replace("+00:00", "Z")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": release.namespace, "generateName": f"{release.name}."},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "namespace": release.namespace,
                "name": release.name,
                "uid": release.uid,
                "resourceVersion": release.resource_version,
            },
            "type": "Warning" if notice.warning else "Normal",
            "reason": notice.reason,
            "message": notice.message[:_MESSAGE_LIMIT],
            "source": {"component": names.FIELD_MANAGER},
            "reportingComponent": names.FIELD_MANAGER,
            "reportingInstance": names.FIELD_MANAGER,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
