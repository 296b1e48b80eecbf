"""The requests to a simulated release, counted as Prometheus would count them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from iris_operator.analysis.counts import RequestCounts, ShadowCounts
from iris_operator.api import names
from iris_operator.engine.ports import MetricsQuery, MetricsResult, MetricsUnavailable
from support.operator.api_server import START, ApiServer, Image

RATE = 100.0
CLASSES = ("setosa", "versicolor", "virginica")
BOUNDS = (0.005, 0.025, 0.1, 0.5)


@dataclass
class Traffic:
    """Counts as Prometheus would have them: the requests to each revision at the weights that were set."""

    server: ApiServer
    rate: float = RATE
    error: str = ""
    missing_revision: str = ""
    custom: float | str | None = None
    queries: list[MetricsQuery] = field(default_factory=list)
    requests_served: dict[str, float] = field(default_factory=dict)
    shares: list[tuple[datetime, float]] = field(default_factory=lambda: [(START, 0.0)])
    control_shares: list[tuple[datetime, float]] = field(default_factory=lambda: [(START, 0.0)])
    mirrored_shares: list[tuple[datetime, float]] = field(default_factory=lambda: [(START, 0.0)])
    mirrored_slow_share: float = 0.0
    """Of the copies that either arm gets, beside those that are slow for their image."""
    label_shares: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Shares of the mirrored requests: both versions right, only stable, only the canary, neither."""

    async def count(self, query: MetricsQuery) -> MetricsResult:
        """See `Metrics.count`."""
        assert (query.namespace, query.release) == ("iris", "iris")
        assert query.since < query.until
        if query.until > self.server.now:
            raise MetricsUnavailable("the newest samples are too old")
        if self.error:
            raise MetricsUnavailable(self.error)
        self.queries.append(query)
        canary = self.rate * self._seconds_of_canary(query.since, query.until)
        control = self.rate * _seconds_of(self.control_shares, query.since, query.until)
        stable = self.rate * (query.until - query.since).total_seconds() - canary - control
        shares = [stable] if len(query.expected_pods) == 1 else [canary, stable, control]
        answers = {
            revision: self._request_counts(revision, requests)
            for revision, requests in zip(query.expected_pods, shares, strict=False)
            if revision != self.missing_revision
            if ("Deployment", "iris", names.workload_name("iris", revision)) in self.server.objects
        }
        shadow = self._shadow_counts(query)
        if shadow:
            both, only_stable, only_canary, neither = shadow.labels
            without_answers = (query.shadow_revision, query.shadow_control)
            revision = next(revision for revision in query.expected_pods if revision not in without_answers)
            wrong = only_canary + neither
            for each in answers.keys() - {query.shadow_revision}:
                # Users get their answers from stable's pods.
                labels = (both + only_stable, wrong) if each == revision else (0, 0)
                answers[each] = replace(answers[each], correct=labels[0], incorrect=labels[1])
        return MetricsResult(answers, shadow, dict.fromkeys(query.queries, self.custom))

    def _shadow_counts(self, query: MetricsQuery) -> ShadowCounts | None:
        if not query.shadow_revision:
            return None
        requests = self.rate * _seconds_of(self.mirrored_shares, query.since, query.until)
        both, only_stable, only_canary, neither = (round(requests * share) for share in self.label_shares)
        counts = self._mirrored_counts(query.shadow_revision, requests)
        counts = replace(counts, correct=both + only_canary, incorrect=only_stable + neither)
        control = self._mirrored_counts(query.shadow_control, requests) if query.shadow_control else None
        if control:
            control = replace(control, correct=both + only_stable, incorrect=only_canary + neither)
        same = round(0.9 * counts.by_code["200"])
        labels = (both, only_stable, only_canary, neither)
        different = counts.by_code["200"] - same
        return ShadowCounts(counts, same, different, labels, configured=self.server.mirroring, control=control)

    def _mirrored_counts(self, revision: str, requests: float) -> RequestCounts:
        counts = self._request_counts(revision, requests)
        slow = round(counts.timed * self.mirrored_slow_share)
        return replace(
            counts,
            at_most={bound: max(0, count - slow) for bound, count in counts.at_most.items()}
            | {float("inf"): counts.timed},
        )

    def _seconds_of_canary(self, since: datetime, until: datetime) -> float:
        return _seconds_of(self.shares, since, until)

    def _request_counts(self, revision: str, requests: float) -> RequestCounts:
        deployment = self.server.objects["Deployment", "iris", names.workload_name("iris", revision)]
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        image_behaviour = self.server.images.get(image, Image())
        before = self.requests_served.get(revision, 0.0)
        self.requests_served[revision] = before + requests
        # One class after the other, over all intervals.
        first, end = round(before), round(before + requests)
        total = end - first
        classes = {name: len(range(first + (at - first) % 3, end, 3)) for at, name in enumerate(CLASSES)}
        errors, slow = round(total * image_behaviour.error_share), round(total * image_behaviour.slow_share)
        at_most = dict.fromkeys(BOUNDS, total - slow) | {float("inf"): total}
        return RequestCounts(
            by_code={"200": total - errors, "500": errors},
            at_most=at_most,
            timed=total,
            failures=errors,
            by_class=classes,
            features=image_behaviour.features,
        )


def _seconds_of(shares: list[tuple[datetime, float]], since: datetime, until: datetime) -> float:
    """Seconds times share, over the shares that were set."""
    ends = [moment for moment, _ in shares[1:]] + [until]
    spans = [
        (min(end, until) - max(begin, since)).total_seconds() * share
        for (begin, share), end in zip(shares, ends, strict=True)
    ]
    return sum(span for span in spans if span > 0)
