"""The metrics of each release, made anew at every scrape from what its last pass saw.

Nothing is set and later forgotten: a release, a revision or a check that is gone has no series any more. Labels are
bounded by what the cluster holds (releases, the revisions of the history) and by closed sets of words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from iris_operator.analysis.verdict import Verdict
from iris_operator.api.spec import Checks
from iris_operator.api.status import CheckStatus, Phase, ReleaseStatus
from iris_operator.engine.ports import Audience
from iris_operator.engine.release import Release
from iris_operator.engine.sighting import PodRestarts, Sighting
from iris_operator.rollout.decision import Notice
from iris_operator.wakeups import Key

ROLLED_BACK: Final = "RolledBack"
# Written at start with 0: what appears together with its first event cannot be seen to increase.
DECISIONS: Final = (
    "Deploying", "Deployed", "ReleaseStarted", "WeightShifted", "Promoted", "RollingBack", ROLLED_BACK, "Superseded",
    "StableUnavailable", "RouteRepaired", "WorkloadRepaired", "SharedIncident", "Recovered", "SlowRollout",
)  # fmt: skip
CAUSES: Final = (
    *("".join(word.title() for word in name.split("_")) for name in Checks.model_fields),
    *("Crash", "NotReady", "ReadyTimeout", "HoldTimeout"),
)
_RELEASE: Final = ("namespace", "release")


class Counted:
    """An audience that counts what it is told, and passes it on."""

    def __init__(self, audience: Audience, metrics: ReleaseMetrics) -> None:
        self._audience = audience
        self._metrics = metrics

    async def tell(self, release: Release, notice: Notice) -> None:
        """See `Audience.tell`."""
        # The cause was stored when the rollback began; the notice of its end has it only in words.
        self._metrics.told((release.namespace, release.name), notice.reason, release.status.rollout.reason)
        await self._audience.tell(release, notice)


@dataclass
class _Kept:
    """All that is known of one release. Counters live as long as this process, as Prometheus expects of them."""

    sighting: Sighting | None = None
    succeeded_at: float | None = None
    decisions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DECISIONS, 0))
    rollbacks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0))
    restarts: dict[str, int] = field(default_factory=dict)
    """By revision."""


class ReleaseMetrics(Collector):
    """The state of every release as `iris_release_*`, `iris_check_*` and `iris_revision_*`.

    Told by the event loop and read by the thread of the scrape: each release's state is replaced whole.
    """

    def __init__(self) -> None:
        self._kept: dict[Key, _Kept] = {}

    def saw(self, key: Key, sighting: Sighting) -> None:
        """A pass has seen this."""
        kept = self._of(key)
        before = kept.sighting
        if sighting.workloads is None and before is not None:
            # A pass that could not be made knows the status and nothing else.
            sighting = Sighting(sighting.status, before.workloads, before.restarts)
        kept.restarts = _restarts(kept.restarts, before, sighting)
        kept.sighting = sighting

    def succeeded(self, key: Key, at: float) -> None:
        """A pass did all that it decided; `at` is in seconds since 1970."""
        self._of(key).succeeded_at = at

    def told(self, key: Key, reason: str, cause: str) -> None:
        """A decision that people are told of; `cause` counts for the end of a rollback."""
        kept = self._of(key)
        kept.decisions[reason] = kept.decisions.get(reason, 0) + 1
        if reason == ROLLED_BACK:
            kept.rollbacks[cause] = kept.rollbacks.get(cause, 0) + 1

    def forget(self, key: Key) -> None:
        """The release is gone, and so are its series."""
        self._kept.pop(key, None)

    def _of(self, key: Key) -> _Kept:
        return self._kept.setdefault(key, _Kept())

    def collect(self) -> Iterator[Metric]:
        """All families; one without a series is left out."""
        families = _Families()
        for key, kept in sorted(self._kept.items()):
            _counters(families, key, kept)
            if kept.sighting is not None:
                _state(families, key, kept.sighting.status)
                _clocks(families, key, kept)
                _checks(families, key, kept.sighting.status)
                _revisions(families, key, kept)
        yield from families.found.values()


class _Families:
    """Families under construction, each made when its first sample comes."""

    def __init__(self) -> None:
        self.found: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}

    def gauge(self, name: str, text: str, key: Key, value: float, **labels: str) -> None:
        """Add one sample; `labels` come after the release's."""
        family = self.found.setdefault(name, GaugeMetricFamily(name, text, labels=[*_RELEASE, *labels]))
        family.add_metric([*key, *labels.values()], value)

    def count(self, name: str, text: str, key: Key, value: float, **labels: str) -> None:
        """Add one sample of a counter; `name` is without `_total`."""
        family = self.found.setdefault(name, CounterMetricFamily(name, text, labels=[*_RELEASE, *labels]))
        family.add_metric([*key, *labels.values()], value)

    def moment(self, name: str, text: str, key: Key, at: datetime | None) -> None:
        """Add the moment in seconds since 1970, unless there is none."""
        if at is not None:
            self.gauge(name, text, key, at.timestamp())


def _counters(families: _Families, key: Key, kept: _Kept) -> None:
    for reason, count in list(kept.decisions.items()):
        families.count("iris_release_decisions", "What people were told of, by reason.", key, count, reason=reason)
    for cause, count in list(kept.rollbacks.items()):
        families.count("iris_release_rollbacks", "Versions that were taken back, by cause.", key, count, reason=cause)


def _state(families: _Families, key: Key, status: ReleaseStatus) -> None:
    for phase in Phase:
        families.gauge(
            "iris_release_phase", "1 for the phase that the release is in.", key, phase is status.phase, phase=phase
        )
    families.gauge("iris_release_weight", "Confirmed share of the canary, in percent.", key, status.weight)
    families.gauge("iris_release_step", "Steps begun so far.", key, status.step.index)
    families.gauge("iris_release_steps", "Steps that there are.", key, status.step.count)
    families.gauge(
        "iris_release_info",
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
            "iris_release_rejected",
            "1 while the spec asks for a version that was taken back.",
            key,
            1,
            version=status.rejected.version,
            reason=status.rejected.reason,
        )


def _clocks(families: _Families, key: Key, kept: _Kept) -> None:
    if kept.succeeded_at is not None:
        name = "iris_reconcile_last_success_timestamp_seconds"
        families.gauge(name, "End of the last pass that did all it decided.", key, kept.succeeded_at)
    rollout = kept.sighting.status.rollout if kept.sighting else None
    if rollout is not None:
        name = "iris_release_held_since_timestamp_seconds"
        families.moment(name, "Since when no verdict lets the step go on.", key, rollout.hold_since)
        name = "iris_release_waiting_since_timestamp_seconds"
        families.moment(name, "Since when pods are awaited to become ready.", key, rollout.waiting_since)


def _checks(families: _Families, key: Key, status: ReleaseStatus) -> None:
    if status.analysis is None:
        return
    for verdict in Verdict:
        said = verdict == status.analysis.verdict
        families.gauge("iris_release_verdict", "1 for the verdict of all checks.", key, said, verdict=verdict)
    for check in status.analysis.checks:
        for verdict in Verdict:
            families.gauge(
                "iris_check_verdict",
                "1 for the verdict of the check.",
                key,
                verdict == check.verdict,
                check=check.name,
                verdict=verdict,
            )
        _evidence(families, key, check)


def _evidence(families: _Families, key: Key, check: CheckStatus) -> None:
    name = check.name
    families.gauge("iris_check_requests", "Canary requests judged in this release.", key, check.requests, check=name)
    for side, share in (("canary", check.canary), ("stable", check.stable)):
        if share is not None:
            families.gauge("iris_check_share", "The measured share, 0 to 1.", key, share, check=name, side=side)
    if check.evidence is None:
        return
    for says, found, needed in (
        ("worse", check.evidence.worse, check.evidence.rollback_at),
        ("good", check.evidence.good, check.evidence.promote_at),
    ):
        families.gauge("iris_check_evidence", "Evidence so far, an e-value.", key, found, check=name, says=says)
        text = "Evidence that decides: worse rolls back, good promotes."
        families.gauge("iris_check_evidence_needed", text, key, needed, check=name, says=says)


def _revisions(families: _Families, key: Key, kept: _Kept) -> None:
    for workload in (kept.sighting.workloads if kept.sighting else None) or ():
        labels = {"revision": workload.ref.revision, "version": workload.ref.version, "role": workload.role}
        families.gauge("iris_revision_pods_wanted", "Pods that there should be.", key, workload.replicas, **labels)
        families.gauge("iris_revision_pods_ready", "Pods that are ready.", key, workload.ready, **labels)
        restarts = kept.restarts.get(workload.ref.revision, 0)
        families.count("iris_revision_restarts", "Container restarts seen.", key, restarts, **labels)


def _restarts(counted: Mapping[str, int], before: Sighting | None, now: Sighting) -> dict[str, int]:
    """The counters by revision after one more sighting.

    What pods had behind them when this process first saw the release was counted by an earlier process, or happened
    before there was one; a pod that is new since then counts from 0.
    """
    known: Mapping[str, PodRestarts] = before.restarts if before is not None else now.restarts
    after = {workload.ref.revision: counted.get(workload.ref.revision, 0) for workload in now.workloads or ()}
    for uid, pod in now.restarts.items():
        if pod.revision in after:
            more = pod.count - (known[uid].count if uid in known else 0)
            after[pod.revision] += max(0, more)
    return after
