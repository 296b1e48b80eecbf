"""The operator as the process that its image runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from support.servers.process import ServerProcess, free_port

_SOURCES = Path(__file__).resolve().parents[3] / "operator"


def operator_process(
    kubeconfig: Path,
    namespace: str,
    folder: Path,
    prometheus_url: str,
    *,
    says: str = "operator started",
    **settings: str,
) -> ServerProcess:
    """The operator as its own process, watching that namespace; started once its log says that."""
    log = folder / "operator.log"
    environment = {
        **os.environ,
        "PYTHONPATH": str(_SOURCES),
        "KUBECONFIG": str(kubeconfig),
        "IRIS_NAMESPACES": namespace,
        "IRIS_PROMETHEUS_URL": prometheus_url,
        "IRIS_HEALTH_PORT": str(free_port()),
        "IRIS_METRICS_PORT": str(free_port()),
        **settings,
    }
    return ServerProcess(
        [sys.executable, "-m", "iris_operator"],
        log,
        ready=lambda: log.exists() and says in log.read_text(),
        environment=environment,
    )
