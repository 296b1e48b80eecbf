"""Kubernetes events on the release, with the same messages in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.api import names
from iris_operator.engine.kinds import EVENT, RELEASE
from iris_operator.engine.release import Release
from iris_operator.rollout.decision import Event

log = logging.getLogger(__name__)

_MESSAGE_LIMIT = 1024


class KubernetesEvents:
    """Implements `engine.ports.EventRecorder`."""

    def __init__(self, api: KubernetesApi, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock

    async def record(self, release: Release, event: Event) -> None:
        """See `EventRecorder.record`."""
        level = logging.WARNING if event.warning else logging.INFO
        log_fields = {"namespace": release.namespace, "release": release.name, "reason": event.reason}
        log.log(level, event.message, extra=log_fields)
        try:
            await self._api.create(self._manifest(release, event))
        except Exception as error:  # noqa: BLE001 - a lost event must not stop a rollback
            log.warning("event %s was not stored: %s", event.reason, error, extra=log_fields)

    def _manifest(self, release: Release, event: Event) -> dict[str, object]:
        now = self._clock().isoformat(timespec="seconds").replace("+00:00", "Z")
        return {
            **EVENT.type_meta,
            "metadata": {"namespace": release.namespace, "generateName": f"{release.name}."},
            "involvedObject": {
                **RELEASE.type_meta,
                "namespace": release.namespace,
                "name": release.name,
                "uid": release.uid,
                "resourceVersion": release.resource_version,
            },
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "message": event.message[:_MESSAGE_LIMIT],
            "source": {"component": names.FIELD_MANAGER},
            "reportingComponent": names.FIELD_MANAGER,
            "reportingInstance": names.FIELD_MANAGER,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
