"""The Collector as in the cluster, with its own configuration, on files and pods that a test makes."""

import json
import os
import re
import urllib.request
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from integration.harness.kubernetes import KubeApiserver
from integration.harness.process import ServerProcess, accepts, free_port
from integration.harness.tools import component
from integration.harness.victorialogs import Row, VictoriaLogs, ask, await_rows
from integration.inference.waiting import eventually

SHIPPED = Path(__file__).parents[3] / "deploy" / "observability" / "logs" / "otelcol"
NODE = "node-of-the-tests"
PODS_HEARD_OF = "otelcol_k8s_watcher_pod_added"


class Collector:
    """One node's Collector; `server` can be stopped, killed and started again on what it noted."""

    def __init__(self, folder: Path, endpoint: str, kubeconfig: Path, **queue: Any) -> None:
        self.logs, state = folder / "pods", folder / "state"
        for made in (self.logs, state):
            made.mkdir()
        self._health, self._metrics = free_port(), free_port()
        (folder / "here.yaml").write_text(json.dumps(self._differences(state, queue)))
        self.server = ServerProcess(
            [component("otelcol"), *_arguments(folder / "here.yaml")],
            folder / "otelcol.log",
            ready=lambda: accepts(self._health),
            environment={
                "PATH": os.environ["PATH"],
                "LOGS_ENDPOINT": endpoint,
                "NODE_NAME": NODE,
                "KUBECONFIG": str(kubeconfig),
            },
        )

    def metric(self, name: str) -> float:
        """A number that it gives of itself; 0 for one that it has nothing to say of yet."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=5) as answer:
            values = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", answer.read().decode(), re.MULTILINE)
        return sum(map(float, values))

    def _differences(self, state: Path, queue: Mapping[str, Any]) -> dict[str, Any]:
        """Where things are here. Nothing of what happens to a line is in it."""
        prometheus = {"host": "127.0.0.1", "port": self._metrics}
        return {
            "extensions": {
                "health_check": {"endpoint": f"127.0.0.1:{self._health}"},
                "file_storage": {"directory": str(state), "compaction": {"directory": str(state)}},
            },
            "receivers": {
                "file_log": {
                    "include": [f"{self.logs}/*/*/*.log"],
                    "exclude": [f"{self.logs}/iris-logs_otelcol-*/*/*.log"],
                }
            },
            "processors": {"k8s_attributes": {"auth_type": "kubeConfig"}},
            "exporters": {"otlp_http": {"sending_queue": queue}},
            "service": {"telemetry": {"metrics": {"readers": [{"pull": {"exporter": {"prometheus": prometheus}}}]}}},
        }


class Pod:
    """A pod that the API server knows, and the log of its one container, which a test writes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.parent.mkdir(parents=True)

    def says(self, *lines: str) -> None:
        """Each as the runtime writes it: with the time, the stream and a mark that it is whole."""
        self._writes(f"{_now()} stderr F {line}" for line in lines)

    def says_in_parts(self, *parts: str) -> None:
        """One line that is too long for the runtime."""
        marks = ["P"] * (len(parts) - 1) + ["F"]
        self._writes(f"{_now()} stdout {mark} {part}" for mark, part in zip(marks, parts, strict=True))

    def rotates(self) -> None:
        """As the kubelet does: the file gets another name, and the runtime starts a new one."""
        self.file.rename(self.file.with_name(f"0.log.{datetime.now(UTC):%Y%m%d-%H%M%S}"))
        self.file.touch()

    def _writes(self, lines: Iterable[str]) -> None:
        with self.file.open("a") as log:
            log.write("".join(f"{line}\n" for line in lines))


@dataclass(frozen=True)
class Namespace:
    """Pods on the node, and what the store has of them."""

    name: str
    node: "Node"

    def pod(self, container: str, **labels: str) -> Pod:
        """A new one, with labels of ours; the Collector has heard of it, as it has before a real one says anything."""
        heard_of = self.node.collector.metric(PODS_HEARD_OF)
        made = self.node.api.request(
            "POST",
            f"/api/v1/namespaces/{self.name}/pods",
            {
                "metadata": {
                    "generateName": f"{container}-",
                    "labels": {f"iris.mlrelease.dev/{label}": value for label, value in labels.items()},
                },
                "spec": {"nodeName": NODE, "containers": [{"name": container, "image": "none"}]},
            },
        )["metadata"]
        eventually(lambda: self.node.collector.metric(PODS_HEARD_OF) > heard_of)
        return Pod(self.node.collector.logs / f"{self.name}_{made['name']}_{made['uid']}" / container / "0.log")

    def await_rows(self, count: int = 1, query: str = "*", seconds: float = 30) -> list[Row]:
        """What there is, once it is so many rows."""
        return await_rows(self.node.store.url, self._of_it(query), count, seconds)

    def rows(self, query: str = "*") -> list[Row]:
        """What there is now."""
        return ask(self.node.store.url, self._of_it(query))

    def _of_it(self, query: str) -> str:
        return f'{{namespace="{self.name}"}} {query}'


@dataclass(frozen=True)
class Node:
    """Its Collector and the store behind it."""

    api: KubeApiserver
    store: VictoriaLogs
    collector: Collector

    def make_namespace(self) -> Namespace:
        """A new one, of any name."""
        name = f"logs-{uuid.uuid4().hex[:8]}"
        self.api.create_namespace(name)
        return Namespace(name, self)


def _arguments(differences: Path) -> list[str]:
    """Those of the DaemonSet, with the file from this checkout."""
    daemonset = next(yaml.safe_load_all((SHIPPED / "otelcol.yaml").read_text()))
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    given = [argument for argument in container["args"] if not argument.startswith("--config=")]
    return [f"--config=file:{SHIPPED / 'collector.yaml'}", f"--config=file:{differences}", *given]


def _now() -> str:
    # The runtime writes nanoseconds.
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
