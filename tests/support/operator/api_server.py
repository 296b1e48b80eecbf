"""An API server in memory: versions, conflicts, apply, and the controllers that turn Deployments into pods.

Enough of one to run whole releases in virtual time; the integration tests use the real one.
"""

from __future__ import annotations

import asyncio
import json
import marshal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from iris_operator.analysis.counts import Bin
from iris_operator.api import names
from iris_operator.engine.kinds import WATCHED_BY_ENGINE
from iris_operator.engine.ports import Conflict, Json, OwnedObjects, ServerError
from support.operator.server_side_apply import applied, drop_from_others, merge_patched, taken_by

T = TypeVar("T")
Object = dict[str, Any]
Key = tuple[str, str, str]
START = datetime(2026, 1, 1, tzinfo=UTC)
_REPLICAS = ("f:spec", "f:replicas")


@dataclass
class Image:
    """How the pods of an image behave."""

    ready_after: float = 2.0
    crash: str = ""
    probe_fails: bool = False
    """Do its containers run and fail their readiness probe?"""
    error_share: float = 0.0
    slow_share: float = 0.0
    features: Mapping[str, Mapping[Bin, int]] | None = None
    """Counted in every interval."""


class OperatorKilled(BaseException):
    """The operator is killed here; a BaseException, so that the operator cannot catch it."""


@dataclass
class ApiServer:
    """Implements what adapters need of `KubernetesApi`, and `engine.ports.Lister`."""

    images: Mapping[str, Image] = field(default_factory=dict)
    now: datetime = START
    objects: dict[Key, Object] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    """Of the route, in percent."""
    shares: list[int] = field(default_factory=list)
    """Of the canary, in percent: those of the confirmed steps, and 0 when the route gives it no traffic."""
    writes: int = 0
    endpoints_listed: bool = True
    config_maps_listed: bool = True
    mirroring: bool = True
    """Do stable's pods mirror the requests that the shadow configuration names?"""
    autoscaler_wants: int = 0
    """Pods that the autoscaler's measurements ask for; 0 while it has none."""
    lost_images: frozenset[str] = frozenset()
    """The pods of these images are on nodes that are lost."""
    before_write: Callable[[int, str], None] = lambda _number, _what: None
    after_write: Callable[[int, str], None] = lambda _number, _what: None
    on_apply: Callable[[Json, str], None] = lambda _manifest, _subresource: None
    """Called with each object that is applied, and the subresource; what it raises is the answer."""
    _started_at: dict[str, datetime] = field(default_factory=dict)
    _version: int = 0

    def clone(self) -> ApiServer:
        """Another server in the same state."""
        return replace(
            self,
            objects=_deep_copy(self.objects),
            events=[*self.events],
            weights=[*self.weights],
            shares=[*self.shares],
            _started_at={**self._started_at},
        )

    # -- called by the adapters

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Json | None:
        assert api_version
        await asyncio.sleep(0)  # a request takes time: another operator may come in between
        return _deep_copy(self.objects.get((kind, namespace, name)))

    async def apply(self, manifest: Json, *, subresource: str = "", manager: str = names.FIELD_MANAGER) -> Json:
        await asyncio.sleep(0)
        with self._write(f"apply {manifest['kind']} {subresource}"):
            self.on_apply(manifest, subresource)
            _require_json(manifest)
            key = self._key(manifest)
            stored = self.objects.get(key)
            wanted = manifest["metadata"].get("resourceVersion")
            if subresource and stored is None:
                raise Conflict("gone")
            if wanted and stored and stored["metadata"]["resourceVersion"] != wanted:
                raise Conflict("the object has been modified")
            self._require_uid(manifest, stored)
            if subresource == "status":
                merged = _deep_copy(stored) if stored else {"metadata": {}}
                merged["status"] = _deep_copy(manifest["status"])
            else:
                merged = applied(stored, manifest, manager)
                if manifest["kind"] == "Deployment":
                    _default_replicas(merged, stored, manager)
            self._save(key, merged, spec_changed=not stored or merged.get("spec") != stored.get("spec"))
            return _deep_copy(self.objects[key])

    async def apply_new(self, manifest: Json) -> Json:
        if self._key(manifest) in self.objects:
            raise Conflict("somebody else has set one of the fields")
        return await self.apply(manifest)

    async def merge_patch(self, manifest: Json, changes: Json) -> Json:
        await asyncio.sleep(0)
        with self._write(f"patch {manifest['kind']}"):
            key = self._key(manifest)
            stored = self.objects.get(key)
            if stored is None:
                raise Conflict("gone")
            self._require_uid(changes, stored)
            merged = merge_patched(_deep_copy(stored), changes)
            self._save(key, merged, spec_changed=merged.get("spec") != stored.get("spec"))
            return _deep_copy(self.objects[key])

    async def create(self, manifest: Json) -> Json:
        self.events.append((manifest["reason"], manifest["message"]))
        return manifest

    async def delete(self, manifest: Json, *, uid: str = "") -> None:
        with self._write(f"delete {manifest['kind']}"):
            stored = self.objects.get(self._key(manifest))
            if stored and uid and stored["metadata"]["uid"] != uid:
                raise Conflict("it is another one")
            self.objects.pop(self._key(manifest), None)

    def owned_objects(self, namespace: str, release: str) -> OwnedObjects:
        def of(kind: str) -> tuple[Object, ...]:
            return tuple(
                item
                for (itemkind, ns, _), item in self.objects.items()
                if itemkind == kind
                and ns == namespace
                and item["metadata"]["labels"].get(names.LABEL_RELEASE) == release
            )

        owned = OwnedObjects(**{kind.index: of(kind.kind) for kind in WATCHED_BY_ENGINE})
        return owned if self.config_maps_listed else replace(owned, config_maps=())

    # -- called by a user

    def user_applies(self, manifest: Object) -> None:
        key = self._key(manifest)
        stored = _deep_copy(self.objects.get(key) or {"metadata": {"uid": "uid-1"}})
        stored.update({k: v for k, v in manifest.items() if k != "metadata"})
        stored["metadata"].update(manifest["metadata"])
        self._save(key, stored, spec_changed=True)

    # -- the controllers

    def advance(self, seconds: float) -> None:
        """Let virtual time pass and the controllers work."""
        self.now += timedelta(seconds=seconds)
        for key in [key for key in self.objects if key[0] in ("Pod", "EndpointSlice")]:
            del self.objects[key]
        for (kind, namespace, _), item in list(self.objects.items()):
            if kind == "HorizontalPodAutoscaler":
                self._scale(namespace, item["spec"])
        for (kind, namespace, _), item in list(self.objects.items()):
            if kind == "Deployment":
                self._run_pods(namespace, item)
        deployments = {name for kind, _, name in self.objects if kind == "Deployment"}
        for name in [each for each in self._started_at if each.rsplit("-", 1)[0] not in deployments]:
            del self._started_at[name]
        for (kind, namespace, name), item in list(self.objects.items()):
            if kind == "Service":
                self._list_endpoints(namespace, name, item)

    def _scale(self, namespace: str, autoscaler: Object) -> None:
        key = ("Deployment", namespace, autoscaler["scaleTargetRef"]["name"])
        target = _deep_copy(self.objects.get(key))
        if target is None or not target["spec"]["replicas"]:
            return
        now = target["spec"]["replicas"]
        wanted = min(max(self.autoscaler_wants or now, autoscaler["minReplicas"]), autoscaler["maxReplicas"])
        if autoscaler["behavior"]["scaleDown"]["selectPolicy"] == "Disabled":
            wanted = max(wanted, now)
        if wanted != now:
            target["spec"]["replicas"] = wanted
            taken_by(target, _REPLICAS, "kube-controller-manager")
            self._save(key, target, spec_changed=True)

    def _run_pods(self, namespace: str, deployment: Object) -> None:
        template = deployment["spec"]["template"]
        image = self.images.get(template["spec"]["containers"][0]["image"], Image())
        for number in range(deployment["spec"]["replicas"]):
            name = f"{deployment['metadata']['name']}-{number}"
            born = self._started_at.setdefault(name, self.now)
            age = (self.now - born).total_seconds()
            lost = template["spec"]["containers"][0]["image"] in self.lost_images
            ready = age >= image.ready_after and not image.crash and not image.probe_fails and not lost
            status: Object = {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
            if lost:
                status["conditions"].append({"type": "ContainersReady", "status": "True"})
            elif image.probe_fails:
                running = {"name": "inference", "state": {"running": {}}, "started": True, "ready": False}
                status["containerStatuses"] = [running]
            if image.crash:
                ended = {"terminated": {"exitCode": 1, "message": image.crash}}
                status["containerStatuses"] = [{"name": "inference", "state": {}, "lastState": ended}]
            labels = dict(template["metadata"]["labels"])
            pod = {
                "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": labels},
                "status": status,
            }
            self.objects["Pod", namespace, name] = pod
        for name in [n for n in self._started_at if n.startswith(deployment["metadata"]["name"] + "-")]:
            if int(name.rsplit("-", 1)[1]) >= deployment["spec"]["replicas"]:
                del self._started_at[name]

    def _list_endpoints(self, namespace: str, name: str, service: Object) -> None:
        selector = service["spec"]["selector"]
        endpoints = [
            {
                "conditions": {"ready": pod["status"]["conditions"][0]["status"] == "True"},
                "targetRef": {"name": pod["metadata"]["name"]},
            }
            for (kind, ns, _), pod in self.objects.items()
            if self.endpoints_listed
            if kind == "Pod" and ns == namespace and selector.items() <= pod["metadata"]["labels"].items()
        ]
        labels = {**service["metadata"]["labels"], "kubernetes.io/service-name": name}
        metadata = {"name": f"{name}-slice", "namespace": namespace, "labels": labels}
        self.objects["EndpointSlice", namespace, f"{name}-slice"] = {"metadata": metadata, "endpoints": endpoints}

    # -- internals

    def _write(self, what: str) -> _Write:
        self.writes += 1
        return _Write(self, self.writes, what)

    def _require_uid(self, manifest: Json, stored: Json | None) -> None:
        uid = manifest.get("metadata", {}).get("uid")
        if uid and (stored is None or stored["metadata"].get("uid") != uid):
            raise Conflict("uid mismatch")

    def _key(self, manifest: Json) -> Key:
        return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]

    def _save(self, key: Key, item: Object, *, spec_changed: bool) -> None:
        self._version += 1
        metadata = item["metadata"]
        metadata["resourceVersion"] = str(self._version)
        metadata["generation"] = metadata.get("generation", 0) + int(spec_changed)
        metadata.setdefault("uid", f"uid-of-{key[0]}-{self._version}")
        metadata.setdefault("labels", {})
        self.objects[key] = item
        if key[0] == "Ingress" and key[2].endswith("-canary"):
            weight = int(metadata["annotations"]["nginx.ingress.kubernetes.io/canary-weight"])
            if not self.weights or self.weights[-1] != weight:
                self.weights.append(weight)
            if not weight:
                self._record_share(0)
        if key[0] == names.KIND:
            rollout = item.get("status", {}).get("rollout", {})
            if rollout.get("stage") == "Progressing" and rollout.get("confirmedWeight"):
                self._record_share(rollout["confirmedWeight"])

    def _record_share(self, share: int) -> None:
        if (self.shares or [0])[-1] != share:
            self.shares.append(share)


@dataclass
class _Write:
    server: ApiServer
    number: int
    what: str

    def __enter__(self) -> None:
        self.server.before_write(self.number, self.what)

    def __exit__(self, *exc: object) -> None:
        if exc[0] is None:
            self.server.after_write(self.number, self.what)


def _require_json(manifest: Json) -> None:
    """What the API server answers to numbers that JSON does not have."""
    try:
        json.dumps(manifest, allow_nan=False)
    except ValueError as error:
        raise ServerError(f"500 {error}", retry_after=2.0) from error


def _deep_copy(item: T) -> T:
    """A deep copy of a JSON value; `copy.deepcopy` took half of the time of a reconcile."""
    anything: Any = item
    clone: T = marshal.loads(marshal.dumps(anything))  # noqa: S302 - written by the same line
    return clone


def _default_replicas(merged: Object, stored: Object | None, manager: str) -> None:
    """A `replicas` that is given another value has one owner; one that nobody owns any more is 1."""
    if "replicas" in merged["spec"] and stored and stored["spec"].get("replicas") != merged["spec"]["replicas"]:
        drop_from_others(merged, _REPLICAS, manager)
    merged["spec"].setdefault("replicas", 1)


def pods_of(server: ApiServer, version: str) -> Iterator[Object]:
    """The pods of a version without those of its control group, for assertions."""
    for (kind, _, _), item in server.objects.items():
        labels = item["metadata"].get("labels", {})
        if kind == "Pod" and labels[names.LABEL_VERSION] == version and names.LABEL_ARM not in labels:
            yield item
