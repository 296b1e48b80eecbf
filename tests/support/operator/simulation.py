"""A release in virtual time: the real engine and the real Ingress router on the API server in memory."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, cast

from iris_operator.adapters.events import KubernetesEvents
from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.kubernetes.objects import ReleaseObjects
from iris_operator.adapters.kubernetes.releases import ReleaseStore
from iris_operator.adapters.routers.registry import build_routers
from iris_operator.api import names
from iris_operator.api.status import ReleaseStatus
from iris_operator.engine.analyze import Analyzer
from iris_operator.engine.batch_judge import BatchJudge
from iris_operator.engine.reconcile import Ports, ReconcileOutcome, Reconciler
from support.operator.api_server import ApiServer, Image, pods_of
from support.operator.availability import Availability
from support.operator.judgements import ImmediateJudgements
from support.operator.traffic import Traffic


class _Selector(selectors.DefaultSelector):
    """Asks the kernel only where there is nothing else to do: in virtual time a loop hardly waits."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return [] if timeout == 0 else super().select(timeout)


# One event loop for all reconciles: creating one takes longer than a reconcile, and so does asyncio.Runner's handler.
LOOP = asyncio.SelectorEventLoop(_Selector())
# A `serving` block with an autoscaler.
AUTOSCALED = {
    "replicas": 4,
    "autoscaling": {"minReplicas": 2, "maxReplicas": 10},
    "resources": {"requests": {"cpu": "100m"}},
}


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


class Simulation:
    """A cluster in virtual time: applies releases, reconciles, and advances the clock."""

    def __init__(self, *servers: ApiServer, **images: Image) -> None:
        behaviour = {f"registry.example.com/iris:{version}": image for version, image in _versions(images).items()}
        (self.server,) = servers or (ApiServer(images=behaviour),)
        self.traffic = Traffic(self.server)
        self.availability = Availability(self.server)
        self.clock_error = timedelta()
        self.reconciler = self.start_operator()

    def start_operator(self) -> Reconciler:
        """A new operator process: it knows only what is stored."""
        api = cast("KubernetesApi", self.server)
        self.reconciler = Reconciler(
            Ports(
                store=ReleaseStore(api),
                objects=ReleaseObjects(api),
                lister=self.server,
                routers=build_routers(api),
                analyzer=Analyzer(self.traffic, BatchJudge(), lag_seconds=2.0),
                judgements=ImmediateJudgements(),
                event_recorder=KubernetesEvents(api, lambda: self.server.now),
                clock=lambda: self.server.now + self.clock_error,
                random=lambda: 1.0,
            )
        )
        return self.reconciler

    def apply(self, version: str, **changes: Any) -> None:
        """What `kubectl apply` does."""
        self.server.user_applies(manifest(version, **changes))

    def annotate(self, annotation: str, value: str | None, manager: str = "kubectl-annotate") -> None:
        """What `kubectl annotate imr iris <group>/<annotation>=<value>` does; None removes it."""
        metadata, name = self.server.objects[names.KIND, "iris", "iris"]["metadata"], f"{names.GROUP}/{annotation}"
        metadata.setdefault("annotations", {}).pop(name, None)
        if value is not None:
            metadata["annotations"][name] = value
            fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{name}": {}}}}
            written = self.server.now.isoformat(timespec="seconds").replace("+00:00", "Z")
            entry = {"manager": manager, "operation": "Update", "time": written, "fieldsV1": fields}
            metadata["managedFields"] = [*metadata.get("managedFields", []), entry]

    def step(self) -> ReconcileOutcome:
        """One reconcile, then the time until the next one, a second at most."""
        outcome = LOOP.run_until_complete(self.reconciler.reconcile("iris", "iris"))
        self.record_shares()
        seconds = min(outcome.requeue_after, 1.0)
        self.server.advance(seconds)
        self.availability.record(seconds)
        return outcome

    def record_shares(self) -> None:
        """The shares of the requests of both arms from now on: each pod behind the canary Service has the same load."""
        canary, control = (self.weight * part / 100 for part in self._parts())
        self.traffic.shares.append((self.server.now, canary))
        self.traffic.control_shares.append((self.server.now, control))
        self.traffic.mirrored_shares.append(
            (self.server.now, self.shadow_target()[1] if self.server.mirroring else 0.0)
        )

    def endpoints_of_both_arms(self) -> list[str]:
        """The arm of each ready endpoint of the canary Service: `control`, or empty for the canary."""
        found = self.server.objects.get(("EndpointSlice", "iris", "iris-canary-slice"))
        return [
            self.server.objects["Pod", "iris", endpoint["targetRef"]["name"]]["metadata"]["labels"].get(
                names.LABEL_ARM, ""
            )
            for endpoint in (found or {}).get("endpoints", [])
            if endpoint["conditions"]["ready"]
        ]

    def _parts(self) -> tuple[float, float]:
        """The parts of both arms in the ready endpoints of the canary Service; all is the canary's without any."""
        arms = self.endpoints_of_both_arms()
        control = arms.count("control") / len(arms) if arms else 0.0
        return 1 - control, control

    def control_pods(self) -> int:
        """Pods that the Deployments of control groups ask for."""
        return sum(
            int(item["spec"]["replicas"])
            for (kind, _, _), item in self.server.objects.items()
            if kind == "Deployment" and item["metadata"]["labels"][names.LABEL_ROLE] == "control"
        )

    @property
    def share(self) -> int:
        """The share of the requests that gets the new version, in percent, rounded."""
        return round(self.weight * self._parts()[0])

    def run(self, until: Callable[[ReleaseStatus], bool], seconds: float = 600) -> ReleaseStatus:
        """Reconcile until the status is as awaited; fails when that takes longer than so many virtual seconds."""
        deadline, reconciles = self.server.now.timestamp() + seconds, 0
        while self.server.now.timestamp() < deadline:
            self.step()
            reconciles += 1
            assert reconciles < 10 * seconds, "the operator is spinning"
            if until(self.status):
                return self.status
        raise AssertionError(f"not reached in {seconds} s: {self.status.phase} {self.status.rollout}")

    def run_for(self, seconds: float) -> ReleaseStatus:
        """Reconcile for so many virtual seconds."""
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
        """The weight of the canary Service as the route has it."""
        ingress = self.server.objects.get(("Ingress", "iris", "iris-canary"))
        if ingress is None:
            return 0
        return int(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"])

    def shadow_target(self) -> tuple[str, float]:
        """The version that requests are mirrored to, and their share; ("", 0) without one."""
        config_map = self.server.objects.get(("ConfigMap", "iris", "iris-shadow"))
        config = json.loads(config_map["data"]["plan.json"] or "null") if config_map else None
        if config is None:
            return "", 0.0
        assert config["url"] == "http://iris-canary.iris.svc:80"
        return self.version_of(names.workload_name("iris", config["revision"])), config["share"]

    def shadow_control(self) -> str:
        """The revision of the control group that gets the same copies; empty without one."""
        config = json.loads(self.server.objects["ConfigMap", "iris", "iris-shadow"]["data"]["plan.json"] or "null")
        if not config or "control" not in config:
            return ""
        assert config["control"]["url"] == "http://iris-control.iris.svc:80"
        return str(config["control"]["revision"])

    def version_behind_stable_service(self) -> str:
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
            if kind == "Deployment" and item["metadata"]["labels"][names.LABEL_ROLE] != "control"
        }
        return found[version]

    def ready(self, version: str) -> int:
        """Ready pods of a version."""
        return sum(pod["status"]["conditions"][0]["status"] == "True" for pod in pods_of(self.server, version))

    def autoscaled_version(self) -> str:
        """Version that the autoscaler scales; empty without one."""
        found = self.server.objects.get(("HorizontalPodAutoscaler", "iris", "iris"))
        return self.version_of(found["spec"]["scaleTargetRef"]["name"]) if found else ""

    def budgets(self) -> dict[str, Any]:
        """The limits of each version's disruption budget."""
        return {
            self.version_of(name): {key: value for key, value in item["spec"].items() if key.endswith("vailable")}
            for (kind, _, name), item in self.server.objects.items()
            if kind == "PodDisruptionBudget" and ("Deployment", "iris", name) in self.server.objects
        }

    def end_state(self) -> dict[str, Any]:
        """The end state, for comparing two runs: what serves what, without times and versions of objects."""
        status = self.status
        deployments = {
            item["metadata"]["labels"][names.LABEL_VERSION]: (
                item["metadata"]["labels"][names.LABEL_ROLE],
                item["spec"]["replicas"],
            )
            for (kind, _, _), item in self.server.objects.items()
            if kind == "Deployment" and item["metadata"]["labels"][names.LABEL_ROLE] != "control"
        }
        return {
            "phase": status.phase,
            "stable": status.stable.version if status.stable else None,
            "canary": status.canary,
            "rejected": status.rejected.version if status.rejected else None,
            "history": [(entry.version, entry.outcome) for entry in status.history],
            "control": (status.control, self.control_pods()),
            "weight": self.weight,
            "serves": self.version_behind_stable_service(),
            "deployments": deployments,
            "autoscaled": self.autoscaled_version(),
            "protected": sorted(self.budgets()),
            "shadow": self.shadow_target(),
        }


def _versions(images: Mapping[str, Image]) -> dict[str, Image]:
    """`v2_0_0=Image()` as a keyword names the version 2.0.0."""
    return {name.removeprefix("v").replace("_", "."): image for name, image in images.items()}


def serving(version: str) -> Callable[[ReleaseStatus], bool]:
    """Until: stable is this version and no rollout is in progress."""
    return lambda status: bool(status.phase == "Stable" and status.stable and status.stable.version == version)


def phase(name: str) -> Callable[[ReleaseStatus], bool]:
    """Until: the phase is this one."""
    return lambda status: status.phase == name


def at_weight(weight: int) -> Callable[[ReleaseStatus], bool]:
    """Until: the step with this share, in percent, has begun. Pods of the next one may still be starting."""
    return lambda status: status.rollout.confirmed_weight == weight and status.rollout.step_started_at is not None


def at_share(weight: int) -> Callable[[ReleaseStatus], bool]:
    """Until: the step with this share, in percent, has begun, and the canary gets all of it."""
    return lambda status: at_weight(weight)(status) and status.weight == weight
