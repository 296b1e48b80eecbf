"""A release in virtual time: the real engine and the real Ingress router on the API server in memory."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

from iris_operator.adapters.events import KubernetesEvents
from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.kubernetes.objects import ReleaseObjects
from iris_operator.adapters.kubernetes.releases import Releases
from iris_operator.adapters.routers.registry import build_routers
from iris_operator.analysis.counts import Copies, RequestCounts
from iris_operator.api import names
from iris_operator.api.status import ReleaseStatus
from iris_operator.engine.judging import FleetJudge, Judging
from iris_operator.engine.ports import Answer, MetricsUnavailable, Question
from iris_operator.engine.reconcile import Outcome, Ports, Reconciler
from unit.operator.api_server import START, ApiServer, Image, pods_of

# One event loop for all passes: making one takes longer than a pass, and so does a runner's watch for Ctrl-C.
LOOP = asyncio.new_event_loop()
RATE = 100.0
# A `serving` block that asks for an autoscaler.
AUTOSCALED = {
    "replicas": 4,
    "autoscaling": {"minReplicas": 2, "maxReplicas": 10},
    "resources": {"requests": {"cpu": "100m"}},
}
CLASSES = ("setosa", "versicolor", "virginica")
BOUNDS = (0.005, 0.025, 0.1, 0.5)


def manifest(version: str, **changes: Any) -> dict[str, Any]:
    """A release resource as a user writes it; `changes` replace whole blocks of the spec."""
    spec: dict[str, Any] = {
        "model": {"name": "iris", "version": version, "image": f"registry.example.com/iris:{version}"},
        "serving": {"replicas": 4},
        "traffic": {"host": "iris.example.com"},
        "rollout": {"steps": [{"weight": 10, "minDuration": "10s"}, {"weight": 50}, {"weight": 100}], "interval": "5s"},
    }
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "iris", "namespace": "iris"},
        "spec": {**spec, **changes},
    }


@dataclass
class Traffic:
    """Counts as Prometheus would have them: what each revision answered at the weights that were set."""

    server: ApiServer
    rate: float = RATE
    down: str = ""
    unseen: str = ""
    custom: float | str | None = None
    asked: list[Question] = field(default_factory=list)
    served: dict[str, float] = field(default_factory=dict)
    shares: list[tuple[datetime, float]] = field(default_factory=lambda: [(START, 0.0)])
    copied: list[tuple[datetime, float]] = field(default_factory=lambda: [(START, 0.0)])
    labelled: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Of the copied requests: both versions right, only stable, only the canary, neither."""

    async def count(self, question: Question) -> Answer:
        """See `Metrics.count`."""
        assert (question.namespace, question.release) == ("iris", "iris")
        assert question.since < question.until <= self.server.now
        if self.down:
            raise MetricsUnavailable(self.down)
        self.asked.append(question)
        canary = self.rate * self._seconds_of_canary(question.since, question.until)
        stable = self.rate * (question.until - question.since).total_seconds() - canary
        shares = [stable] if len(question.pods) == 1 else [canary, stable]
        answers = {
            revision: self._answers(revision, requests)
            for revision, requests in zip(question.pods, shares, strict=True)
            if revision != self.unseen
        }
        copies = self._copies(question)
        if copies:
            both, only_stable, only_canary, neither = copies.labels
            revision = next(revision for revision in question.pods if revision != question.copied_to)
            wrong = only_canary + neither
            if revision in answers:
                answers[revision] = replace(answers[revision], correct=both + only_stable, incorrect=wrong)
        return Answer(answers, copies, dict.fromkeys(question.queries, self.custom))

    def _copies(self, question: Question) -> Copies | None:
        if not question.copied_to:
            return None
        requests = self.rate * _seconds_of(self.copied, question.since, question.until)
        both, only_stable, only_canary, neither = (round(requests * share) for share in self.labelled)
        counts = self._answers(question.copied_to, requests)
        counts = replace(counts, correct=both + only_canary, incorrect=only_stable + neither)
        same = round(0.9 * counts.by_code["200"])
        labels = (both, only_stable, only_canary, neither)
        return Copies(counts, same, counts.by_code["200"] - same, labels, planned=self.server.copies_sent)

    def _seconds_of_canary(self, since: datetime, until: datetime) -> float:
        return _seconds_of(self.shares, since, until)

    def _answers(self, revision: str, requests: float) -> RequestCounts:
        deployment = self.server.objects["Deployment", "iris", names.workload_name("iris", revision)]
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        behaviour = self.server.images.get(image, Image())
        before = self.served.get(revision, 0.0)
        self.served[revision] = before + requests
        # One class after the other, over all intervals.
        served = range(round(before), round(before + requests))
        total = len(served)
        classes = {name: sum(n % 3 == at for n in served) for at, name in enumerate(CLASSES)}
        errors, slow = round(total * behaviour.error_share), round(total * behaviour.slow_share)
        at_most = dict.fromkeys(BOUNDS, total - slow) | {float("inf"): total}
        return RequestCounts(
            by_code={"200": total - errors, "500": errors},
            at_most=at_most,
            timed=total,
            failures=errors,
            by_class=classes,
            features=behaviour.features,
        )


def _seconds_of(shares: list[tuple[datetime, float]], since: datetime, until: datetime) -> float:
    """Seconds times share, over the shares that were set."""
    ends = [moment for moment, _ in shares[1:]] + [until]
    spans = [
        (min(end, until) - max(begin, since)).total_seconds() * share
        for (begin, share), end in zip(shares, ends, strict=True)
    ]
    return sum(span for span in spans if span > 0)


class Simulation:
    """Applies, passes, time: in this order, as often as asked."""

    def __init__(self, *servers: ApiServer, **images: Image) -> None:
        behaviour = {f"registry.example.com/iris:{version}": image for version, image in _versions(images).items()}
        (self.server,) = servers or (ApiServer(images=behaviour),)
        self.traffic = Traffic(self.server)
        self.reconciler = self.start_operator()

    def start_operator(self) -> Reconciler:
        """A new operator process: it knows nothing but what is stored."""
        api = cast("KubernetesApi", self.server)
        self.reconciler = Reconciler(
            Ports(
                store=Releases(api),
                objects=ReleaseObjects(api),
                watched=self.server,
                routers=build_routers(api),
                judging=Judging(self.traffic, FleetJudge(), lag_seconds=2.0),
                audience=KubernetesEvents(api, lambda: self.server.now),
                clock=lambda: self.server.now,
            )
        )
        return self.reconciler

    def apply(self, version: str, **changes: Any) -> None:
        """What `kubectl apply` does."""
        self.server.user_applies(manifest(version, **changes))

    def step(self) -> Outcome:
        """One pass, then the time until the next one, a second at most."""
        outcome = LOOP.run_until_complete(self.reconciler.run("iris", "iris"))
        self.traffic.shares.append((self.server.now, self.weight / 100))
        self.traffic.copied.append((self.server.now, self.copies()[1] if self.server.copies_sent else 0.0))
        self.server.advance(min(outcome.wake_after, 1.0))
        return outcome

    def run(self, until: Callable[[ReleaseStatus], bool], seconds: float = 600) -> ReleaseStatus:
        """Passes until the status is as awaited; fails when that takes longer than so many virtual seconds."""
        deadline, passes = self.server.now.timestamp() + seconds, 0
        while self.server.now.timestamp() < deadline:
            self.step()
            passes += 1
            assert passes < 10 * seconds, "the operator is spinning"
            if until(self.status):
                return self.status
        raise AssertionError(f"not reached in {seconds} s: {self.status.phase} {self.status.rollout}")

    def run_for(self, seconds: float) -> ReleaseStatus:
        """Passes for so many virtual seconds."""
        deadline = self.server.now.timestamp() + seconds
        while self.server.now.timestamp() < deadline:
            self.step()
        return self.status

    @property
    def status(self) -> ReleaseStatus:
        """The stored status."""
        return ReleaseStatus.model_validate(self.server.objects[names.KIND, "iris", "iris"].get("status") or {})

    @property
    def weight(self) -> int:
        """The canary's share as the route has it."""
        ingress = self.server.objects.get(("Ingress", "iris", "iris-canary"))
        if ingress is None:
            return 0
        return int(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"])

    def copies(self) -> tuple[str, float]:
        """Which version gets copies of requests, and of which share; ("", 0) when none does."""
        plan = self.server.objects.get(("ConfigMap", "iris", "iris-shadow"))
        told = json.loads(plan["data"]["plan.json"] or "null") if plan else None
        if told is None:
            return "", 0.0
        assert told["url"] == "http://iris-canary.iris.svc:80"
        return self.version_of(names.workload_name("iris", told["revision"])), told["share"]

    def served_by_stable_service(self) -> str:
        """Version behind the stable Service."""
        revision = self.server.objects["Service", "iris", "iris-stable"]["spec"]["selector"][names.LABEL_REVISION]
        deployment = self.server.objects["Deployment", "iris", names.workload_name("iris", revision)]
        return str(deployment["metadata"]["labels"][names.LABEL_VERSION])

    def version_of(self, deployment: str) -> str:
        """Version that a Deployment runs."""
        return str(self.server.objects["Deployment", "iris", deployment]["metadata"]["labels"][names.LABEL_VERSION])

    def replicas(self, version: str) -> int:
        """Pods that the Deployment of a version asks for."""
        found = {
            item["metadata"]["labels"][names.LABEL_VERSION]: int(item["spec"]["replicas"])
            for (kind, _, _), item in self.server.objects.items()
            if kind == "Deployment"
        }
        return found[version]

    def ready(self, version: str) -> int:
        """Ready pods of a version."""
        return sum(pod["status"]["conditions"][0]["status"] == "True" for pod in pods_of(self.server, version))

    def autoscaled(self) -> str:
        """Version that the autoscaler scales; empty without one."""
        found = self.server.objects.get(("HorizontalPodAutoscaler", "iris", "iris"))
        return self.version_of(found["spec"]["scaleTargetRef"]["name"]) if found else ""

    def budgets(self) -> dict[str, Any]:
        """What a drain must leave of each version that has a budget."""
        return {
            self.version_of(name): {key: value for key, value in item["spec"].items() if key.endswith("vailable")}
            for (kind, _, name), item in self.server.objects.items()
            if kind == "PodDisruptionBudget" and ("Deployment", "iris", name) in self.server.objects
        }

    def picture(self) -> dict[str, Any]:
        """The end state, for comparing two runs: what serves what, without times and versions of objects."""
        status = self.status
        deployments = {
            item["metadata"]["labels"][names.LABEL_VERSION]: (
                item["metadata"]["labels"][names.LABEL_ROLE],
                item["spec"]["replicas"],
            )
            for (kind, _, _), item in copy.deepcopy(self.server.objects).items()
            if kind == "Deployment"
        }
        return {
            "phase": status.phase,
            "stable": status.stable.version if status.stable else None,
            "canary": status.canary,
            "rejected": status.rejected.version if status.rejected else None,
            "history": [(entry.version, entry.outcome) for entry in status.history],
            "weight": self.weight,
            "serves": self.served_by_stable_service(),
            "deployments": deployments,
            "autoscaled": self.autoscaled(),
            "protected": sorted(self.budgets()),
            "copies": self.copies(),
        }


def _versions(images: Mapping[str, Image]) -> dict[str, Image]:
    """`v2_0_0=Image()` as a keyword names the version 2.0.0."""
    return {name.removeprefix("v").replace("_", "."): image for name, image in images.items()}


def serving(version: str) -> Callable[[ReleaseStatus], bool]:
    """Until: stable is this version and nothing is going on."""
    return lambda status: bool(status.phase == "Stable" and status.stable and status.stable.version == version)


def phase(name: str) -> Callable[[ReleaseStatus], bool]:
    """Until: the phase is this one."""
    return lambda status: status.phase == name


def at_weight(weight: int) -> Callable[[ReleaseStatus], bool]:
    """Until: this weight is confirmed and the step has begun."""
    return lambda status: status.weight == weight and status.rollout.step_started_at is not None
