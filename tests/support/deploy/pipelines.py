"""The log pipelines that the components make, rendered as an overlay would."""

import json
import tempfile
from pathlib import Path

import yaml

from iris_install.kubectl import Kubectl
from support.deploy.manifests import Manifest

ROOT = Path(__file__).resolve().parents[3]
LOGS = ROOT / "deploy" / "observability" / "logs"
# The labels by which the stores define streams.
LABELS = ["namespace", "app", "release", "version", "level"]
PIPELINES = {
    "loki with alloy": ["loki", "alloy"],
    "loki with promtail": ["loki", "promtail"],
    "loki with the collector": ["loki", "otelcol"],
    "victorialogs with the collector": ["otelcol", "victorialogs"],
}


def pipeline(kubectl: Kubectl, *parts: str) -> list[Manifest]:
    """The objects of an overlay with these components."""
    folders = [f"../../deploy/observability/logs/{part}" for part in ("namespace", *parts)]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "components": folders,
    }
    (ROOT / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="logs-", dir=ROOT / ".cache") as folder:
        (Path(folder) / "kustomization.yaml").write_text(json.dumps(kustomization))
        return [item for item in yaml.safe_load_all(kubectl.run("kustomize", folder)) if item]
