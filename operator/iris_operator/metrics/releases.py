"""The metrics of each release, built at every scrape from the snapshot of its last reconcile.

No series is left behind: a release, a revision or a check that is gone has none any more. Label values are bounded by
what the cluster holds (releases, the revisions of the history) and by closed sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from iris_operator import metric_names
from iris_operator.analysis.registry import ROLLBACK_CAUSES
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.status import CheckStatus, Phase, ReleaseStatus
from iris_operator.engine.ports import EventRecorder
from iris_operator.engine.release import Release
from iris_operator.engine.snapshot import PodRestarts, Snapshot
from iris_operator.rollout.decision import Event
from iris_operator.workqueue import Key

ROLLED_BACK: Final = "RolledBack"
# Exposed as 0 from the start: a counter that appears with its first event shows no increase.
DECISIONS: Final = (
    "Deploying", "Deployed", "ReleaseStarted", "WeightShifted", "Promoted", "RollingBack", ROLLED_BACK, "Superseded",
    "StableUnavailable", "Adopted", "RouteRepaired", "WorkloadRepaired", "SharedIncident", "Recovered", "SlowRollout",
    "WentBack",
)  # fmt: skip
CAUSES: Final = (*ROLLBACK_CAUSES, "Crash", "NotReady", "ReadyTimeout", "HoldTimeout", "SharedIncident", "Aborted")
_RELEASE: Final = ("namespace", "release")


class CountingRecorder:
    """Counts events and passes them on."""

    def __init__(self, event_recorder: EventRecorder, metrics: ReleaseMetrics) -> None:
        self._event_recorder = event_recorder
        self._metrics = metrics

    async def record(self, release: Release, event: Event) -> None:
        """See `EventRecorder.record`."""
        # The cause was stored when the rollback began; the event of its end has it only in its message.
        self._metrics.record((release.namespace, release.name), event.reason, release.status.rollout.reason)
        await self._event_recorder.record(release, event)


@dataclass
class _ReleaseState:
    """All that is known of one release. Counters last as long as this process, as Prometheus expects."""

    snapshot: Snapshot | None = None
    succeeded_at: float | None = None
    decisions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DECISIONS, 0))
    rollbacks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0))
    restarts: dict[str, int] = field(default_factory=dict)
    """By revision."""


class ReleaseMetrics(Collector):
    """The state of every release as `iris_release_*`, `iris_check_*` and `iris_revision_*`.

    Written by the event loop and read by the thread of the scrape: the snapshot of a release is replaced as a whole.
    """

    def __init__(self) -> None:
        self._releases: dict[Key, _ReleaseState] = {}

    def observe(self, key: Key, snapshot: Snapshot) -> None:
        """Take the snapshot of a reconcile."""
        state = self._state_of(key)
        before = state.snapshot
        if snapshot.workloads is None and before is not None:
            # A failed reconcile knows the status and nothing else.
            snapshot = Snapshot(snapshot.status, before.workloads, before.restarts)
        state.restarts = _restarts(state.restarts, before, snapshot)
        state.snapshot = snapshot

    def succeeded(self, key: Key, at: float) -> None:
        """A reconcile did all that it decided; `at` is in seconds since 1970."""
        self._state_of(key).succeeded_at = at

    def record(self, key: Key, reason: str, cause: str) -> None:
        """Count an event by its reason; `cause` counts for the end of a rollback."""
        state = self._state_of(key)
        state.decisions[reason] = state.decisions.get(reason, 0) + 1
        if reason == ROLLED_BACK:
            state.rollbacks[cause] = state.rollbacks.get(cause, 0) + 1

    def forget(self, key: Key) -> None:
        """Drop a release that is gone, and its series."""
        self._releases.pop(key, None)

    def forget_all(self) -> None:
        """Drop what another operator reports from now on."""
        self._releases.clear()

    def _state_of(self, key: Key) -> _ReleaseState:
        return self._releases.setdefault(key, _ReleaseState())

    def collect(self) -> Iterator[Metric]:
        """All families; one without a series is left out."""
        families = _Families()
        for key, state in sorted(self._releases.items()):
            _counters(families, key, state)
            if state.snapshot is not None:
                _state(families, key, state.snapshot.status)
                _timestamps(families, key, state)
                _checks(families, key, state.snapshot.status)
                _revisions(families, key, state)
        yield from families.by_name.values()


class _Families:
    """Metric families under construction, each created with its first sample."""

    def __init__(self) -> None:
        self.by_name: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}

    def gauge(self, name: str, documentation: str, key: Key, value: float, **labels: str) -> None:
        """Add one sample; `labels` come after the release's."""
        family = self.by_name.setdefault(name, GaugeMetricFamily(name, documentation, labels=[*_RELEASE, *labels]))
        family.add_metric([*key, *labels.values()], value)

    def count(self, name: str, documentation: str, key: Key, value: float, **labels: str) -> None:
        """Add one sample of a counter."""
        family = self.by_name.setdefault(name, CounterMetricFamily(name, documentation, labels=[*_RELEASE, *labels]))
        family.add_metric([*key, *labels.values()], value)

    def timestamp(self, name: str, documentation: str, key: Key, at: datetime | None) -> None:
        """Add a timestamp in seconds since 1970, unless there is none."""
        if at is not None:
            self.gauge(name, documentation, key, at.timestamp())


def _counters(families: _Families, key: Key, release: _ReleaseState) -> None:
    for reason, count in list(release.decisions.items()):
        families.count(
            metric_names.RELEASE_DECISIONS,
            "Decisions that were published as events, by reason.",
            key,
            count,
            reason=reason,
        )
    for cause, count in list(release.rollbacks.items()):
        families.count(
            metric_names.RELEASE_ROLLBACKS, "Versions that were rolled back, by cause.", key, count, reason=cause
        )


def _state(families: _Families, key: Key, status: ReleaseStatus) -> None:
    for phase in Phase:
        families.gauge(
            metric_names.RELEASE_PHASE,
            "1 for the phase that the release is in.",
            key,
            phase is status.phase,
            phase=phase,
        )
    families.gauge(metric_names.RELEASE_WEIGHT, "Confirmed share of the canary, in percent.", key, status.weight)
    families.gauge(metric_names.RELEASE_STEP, "Steps begun so far.", key, status.step.index)
    families.gauge(metric_names.RELEASE_STEPS, "Steps that there are.", key, status.step.count)
    families.gauge(
        metric_names.RELEASE_INFO,
        "1; the labels say what serves and what is tried.",
        key,
        1,
        stable=status.stable.version if status.stable else "",
        stable_revision=status.stable.revision if status.stable else "",
        canary=status.canary.version if status.canary else "",
        canary_revision=status.canary.revision if status.canary else "",
    )
    if status.rejected is not None:
        families.gauge(
            metric_names.RELEASE_REJECTED,
            "1 while the spec asks for a version that was rolled back.",
            key,
            1,
            version=status.rejected.version,
            reason=status.rejected.reason,
        )


def _timestamps(families: _Families, key: Key, release: _ReleaseState) -> None:
    if release.succeeded_at is not None:
        name = metric_names.RECONCILE_LAST_SUCCESS
        families.gauge(name, "End of the last pass that did all it decided.", key, release.succeeded_at)
    rollout = release.snapshot.status.rollout if release.snapshot else None
    if rollout is not None:
        name = metric_names.RELEASE_HELD_SINCE
        families.timestamp(name, "Since when no verdict lets the step go on.", key, rollout.hold_since)
        name = metric_names.RELEASE_WAITING_SINCE
        families.timestamp(name, "Since when pods are awaited to become ready.", key, rollout.waiting_since)


def _checks(families: _Families, key: Key, status: ReleaseStatus) -> None:
    if status.analysis is None:
        return
    for verdict in Verdict:
        is_current = verdict == status.analysis.verdict
        families.gauge(
            metric_names.RELEASE_VERDICT, "1 for the verdict of all checks.", key, is_current, verdict=verdict
        )
    for check in status.analysis.checks:
        for verdict in Verdict:
            families.gauge(
                metric_names.CHECK_VERDICT,
                "1 for the verdict of the check.",
                key,
                verdict == check.verdict,
                check=check.name,
                verdict=verdict,
            )
        _evidence(families, key, check)


def _evidence(families: _Families, key: Key, check: CheckStatus) -> None:
    name = check.name
    families.gauge(
        metric_names.CHECK_REQUESTS, "Canary requests judged in this release.", key, check.requests, check=name
    )
    for arm, share in (("canary", check.canary), ("stable", check.stable)):
        if share is not None:
            families.gauge(metric_names.CHECK_SHARE, "The measured share, 0 to 1.", key, share, check=name, side=arm)
    if check.evidence is None:
        return
    for hypothesis, evidence, bound in (
        ("worse", check.evidence.worse, check.evidence.rollback_at),
        ("good", check.evidence.good, check.evidence.promote_at),
    ):
        families.gauge(
            metric_names.CHECK_EVIDENCE, "Evidence so far, an e-value.", key, evidence, check=name, says=hypothesis
        )
        text = "Evidence that decides: worse rolls back, good promotes."
        families.gauge(metric_names.CHECK_EVIDENCE_NEEDED, text, key, bound, check=name, says=hypothesis)


def _revisions(families: _Families, key: Key, release: _ReleaseState) -> None:
    for workload in (release.snapshot.workloads if release.snapshot else None) or ():
        labels = {"revision": workload.ref.revision, "version": workload.ref.version, "role": workload.role}
        families.gauge(
            metric_names.REVISION_PODS_WANTED, "Pods that there should be.", key, workload.replicas, **labels
        )
        families.gauge(metric_names.REVISION_PODS_READY, "Pods that are ready.", key, workload.ready, **labels)
        restarts = release.restarts.get(workload.ref.revision, 0)
        families.count(metric_names.REVISION_RESTARTS, "Container restarts seen.", key, restarts, **labels)


def _restarts(counted: Mapping[str, int], before: Snapshot | None, now: Snapshot) -> dict[str, int]:
    """The counters by revision after one more snapshot.

    Restarts from before this process's first snapshot of the release were counted by an earlier process, or happened
    before there was one; a pod that is new since then counts from 0.
    """
    known: Mapping[str, PodRestarts] = before.restarts if before is not None else now.restarts
    after = {workload.ref.revision: counted.get(workload.ref.revision, 0) for workload in now.workloads or ()}
    for uid, pod in now.restarts.items():
        if pod.revision in after:
            more = pod.count - (known[uid].count if uid in known else 0)
            after[pod.revision] += max(0, more)
    return after
