"""The Collector with its production configuration, on log files and pods that a test creates."""

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

from support.servers.kubernetes import KubeApiserver
from support.servers.process import ServerProcess, accepts, free_port
from support.servers.tools import component
from support.servers.victorialogs import Row, VictoriaLogs, query_logs, wait_for_rows
from support.waiting import eventually

SHIPPED = Path(__file__).parents[3] / "deploy" / "observability" / "logs" / "otelcol"
NODE = "node-of-the-tests"
PODS_SEEN = "otelcol_k8s_watcher_pod_added"


class Collector:
    """One node's Collector; `server` can be stopped, killed and started again on its stored state."""

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
        """One of its own metrics, summed over labels; 0 while it does not exist yet."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=5) as answer:
            values = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", answer.read().decode(), re.MULTILINE)
        return sum(map(float, values))

    def _differences(self, state: Path, queue: Mapping[str, Any]) -> dict[str, Any]:
        """The paths and ports of the test. Nothing that affects the processing of a line."""
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
    """A pod in the API server, and its container's log file, which a test writes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.parent.mkdir(parents=True)

    def log(self, *lines: str) -> None:
        """Write lines as the runtime does: with the time, the stream and the tag of a full line."""
        self._write(f"{_now()} stderr F {line}" for line in lines)

    def log_in_parts(self, *parts: str) -> None:
        """Write one line that the runtime splits because it is too long."""
        marks = ["P"] * (len(parts) - 1) + ["F"]
        self._write(f"{_now()} stdout {mark} {part}" for mark, part in zip(marks, parts, strict=True))

    def rotate_log(self) -> None:
        """Rotate the log as the kubelet does: rename the file and start a new one."""
        self.file.rename(self.file.with_name(f"0.log.{datetime.now(UTC):%Y%m%d-%H%M%S}"))
        self.file.touch()

    def _write(self, lines: Iterable[str]) -> None:
        with self.file.open("a") as log:
            log.write("".join(f"{line}\n" for line in lines))


@dataclass(frozen=True)
class Namespace:
    """Pods on the node, and their lines in the store."""

    name: str
    node: "Node"

    def pod(self, container: str, **labels: str) -> Pod:
        """Create a pod with labels and wait until the Collector has seen it, as it would before a real pod logs."""
        seen_before = self.node.collector.metric(PODS_SEEN)
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
        eventually(lambda: self.node.collector.metric(PODS_SEEN) > seen_before)
        return Pod(self.node.collector.logs / f"{self.name}_{made['name']}_{made['uid']}" / container / "0.log")

    def wait_for_rows(self, count: int = 1, query: str = "*", seconds: float = 30) -> list[Row]:
        """Wait until there are so many rows, and return them."""
        return wait_for_rows(self.node.store.url, self._of_it(query), count, seconds)

    def rows(self, query: str = "*") -> list[Row]:
        """The current rows."""
        return query_logs(self.node.store.url, self._of_it(query))

    def _of_it(self, query: str) -> str:
        return f'{{namespace="{self.name}"}} {query}'


@dataclass(frozen=True)
class Node:
    """A node with its Collector and the store."""

    api: KubeApiserver
    store: VictoriaLogs
    collector: Collector

    def make_namespace(self) -> Namespace:
        """Create a namespace with a unique name."""
        name = f"logs-{uuid.uuid4().hex[:8]}"
        self.api.create_namespace(name)
        return Namespace(name, self)


def _arguments(differences: Path) -> list[str]:
    """The DaemonSet's arguments, with the configuration file of this checkout."""
    daemonset = next(yaml.safe_load_all((SHIPPED / "otelcol.yaml").read_text()))
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    given = [argument for argument in container["args"] if not argument.startswith("--config=")]
    return [f"--config=file:{SHIPPED / 'collector.yaml'}", f"--config=file:{differences}", *given]


def _now() -> str:
    # The runtime writes nanoseconds.
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
