"""Renders an overlay with the operator's image, which is only known at installation."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from iris_install.errors import InstallError
from iris_install.kubectl import LOCAL_CONTEXT, Kubectl
from iris_local.paths import Paths, cache_root

ROOT = Path(__file__).resolve().parents[3]
OVERLAYS = ROOT / "deploy" / "overlays"
LOCAL_OVERLAY = "local"
# The names of the operator's image in the base and, renamed, in overlays.
_OPERATOR_IMAGE_NAMES = ("iris-operator", "localhost/iris-operator")
_IMAGE = re.compile(r"(?P<name>[^@\s]+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")


def choose(context: str, requested: str | None) -> str:
    """The overlay's name: the requested one, else `local` on the one-machine cluster and `production` elsewhere."""
    name = requested or (LOCAL_OVERLAY if context == LOCAL_CONTEXT else "production")
    known = sorted(path.name for path in OVERLAYS.iterdir() if path.is_dir())
    if name not in known:
        raise InstallError(f"There is no overlay {name}; there are: {', '.join(known)}.")
    return name


def render(kubectl: Kubectl, overlay: str, operator_image: str) -> str:
    """The overlay's objects as YAML, with the operator's image set."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../../deploy/overlays/{overlay}"],
        "images": [{"name": name, **_image_fields(operator_image)} for name in _OPERATOR_IMAGE_NAMES],
        "patches": [_local_log_folders(Paths(cache_root()))] if overlay == LOCAL_OVERLAY else [],
    }
    # kustomize follows relative paths only, so the folder has to be inside the checkout.
    (ROOT / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="deploy-", dir=ROOT / ".cache") as folder:
        (Path(folder) / "kustomization.yaml").write_text(json.dumps(kustomization))
        return kubectl.run("kustomize", folder)


def _local_log_folders(paths: Paths) -> dict[str, Any]:
    """A patch for the log collector's volumes: the local kubelet stores pod logs below the machine's cache root."""
    volumes = [
        {"name": "pod-logs", "hostPath": {"path": str(paths.pod_logs)}},
        {"name": "state", "hostPath": {"path": str(paths.log_shipper_state)}},
    ]
    patch = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "otelcol", "namespace": "iris-logs"},
        "spec": {"template": {"spec": {"volumes": volumes}}},
    }
    return {"patch": json.dumps(patch)}


def _image_fields(image: str) -> dict[str, str]:
    match = _IMAGE.fullmatch(image)
    if match is None or not (match["tag"] or match["digest"]):
        raise InstallError(
            f"The operator's image {image!r} needs a tag or a digest, as in registry.example.com/iris-operator:1.2.3."
        )
    if match["tag"] == "latest" and not match["digest"]:
        raise InstallError(
            "The operator's image must not be tagged `latest`: nobody could tell later what was running."
        )
    fixed = {"digest": match["digest"]} if match["digest"] else {"newTag": match["tag"]}
    return {"newName": match["name"], **fixed}
