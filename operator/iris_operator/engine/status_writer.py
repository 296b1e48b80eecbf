"""The status of one release during one reconcile, written up to a few times, each time against the newest version."""

from __future__ import annotations

from iris_operator.api.status import ReleaseStatus, Stage
from iris_operator.api.stored_status import StoredStatus
from iris_operator.engine.ports import Json, Store


class StatusWriter:
    """Knows what is stored, and writes only what differs. What could not be read of the status stays as it was."""

    def __init__(self, store: Store, body: Json, found: StoredStatus) -> None:
        self._store = store
        self._body = body
        self._found = found
        self.stored = found.status

    async def write(self, status: ReleaseStatus) -> None:
        """Store the status, unless it is stored already.

        Raises:
            Conflict, Forbidden, Refused, Unavailable: see `ports`.
        """
        if status == self.stored or status.to_json() == self.stored.to_json():
            return
        version = await self._store.write_status(self._body, self._found.updated(status))
        self._body = {**self._body, "metadata": {**self._body["metadata"], "resourceVersion": version}}
        self.stored = status


def without_analysis(status: ReleaseStatus) -> ReleaseStatus:
    """The durable state alone: what is refused by the API server is most likely among the measurements."""
    watch = status.watch.model_copy(update={"memory": ""}) if status.watch else None
    return status.model_copy(update={"analysis": None, "watch": watch})


class UnstoredRollbacks:
    """Rollbacks that were begun while their status could not be stored: they go on, as long as this process lives.

    Otherwise a canary whose pods are ready again, once it has no traffic, would get it back.
    """

    def __init__(self) -> None:
        self._decided: dict[tuple[str, str], tuple[ReleaseStatus, ReleaseStatus]] = {}

    def status(self, key: tuple[str, str], stored: ReleaseStatus) -> ReleaseStatus:
        """What was decided last about a release whose status is stored like this; else the stored status itself."""
        before, decided = self._decided.get(key, (None, stored))
        return decided if before is None or before == stored else stored

    def keep(self, key: tuple[str, str], stored: ReleaseStatus, decided: ReleaseStatus | None) -> bool:
        """Keep a status that could not be stored, if it is that of a rollback; None: it was stored."""
        rolls_back = decided is not None and decided.rollout.stage is Stage.ROLLING_BACK
        if decided is None or not rolls_back or stored.rollout.stage is Stage.ROLLING_BACK:
            self._decided.pop(key, None)
            return False
        self._decided[key] = stored, decided
        return True
