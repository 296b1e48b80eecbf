"""The status of one release during one reconcile, written up to a few times, each time against the newest version."""

from __future__ import annotations

from iris_operator.api.status import Phase, ReleaseStatus
from iris_operator.engine.ports import Json, Store


class StatusWriter:
    """Knows what is stored, and writes only what differs."""

    def __init__(self, store: Store, body: Json, stored: ReleaseStatus) -> None:
        self._store = store
        self._body = body
        self.stored = stored

    async def write(self, status: ReleaseStatus) -> None:
        """Store the status, unless it is stored already.

        Raises:
            Conflict, Forbidden, Refused, Unavailable: see `ports`.
        """
        if status == self.stored or (new := status.to_json()) == self.stored.to_json():
            return
        version = await self._store.write_status(self._body, new)
        self._body = {**self._body, "metadata": {**self._body["metadata"], "resourceVersion": version}}
        self.stored = status


def intent_of(decided: ReleaseStatus, before: ReleaseStatus) -> ReleaseStatus:
    """The status to store before the actions run.

    One that is degraded stays so until they have succeeded, or it would not be for a moment in every reconcile.
    """
    if before.phase is not Phase.DEGRADED or decided.phase is Phase.DEGRADED:
        return decided
    return decided.model_copy(update={"phase": before.phase, "conditions": before.conditions})


def without_analysis(status: ReleaseStatus) -> ReleaseStatus:
    """The durable state alone: what is refused by the API server is most likely among the measurements."""
    watch = status.watch.model_copy(update={"memory": ""}) if status.watch else None
    return status.model_copy(update={"analysis": None, "watch": watch})
