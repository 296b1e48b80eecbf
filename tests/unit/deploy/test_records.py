import pytest
import yaml

from iris_inference.storage.migrate import build_parser
from iris_install import credentials, overlay
from iris_install.kubectl import Kubectl
from support.deploy.manifests import Manifest


@pytest.fixture(scope="session")
def cronjob(kubectl: Kubectl) -> Manifest:
    rendered = kubectl.run("kustomize", str(overlay.ROOT / "deploy" / "records"))
    return dict(yaml.safe_load(rendered))


@pytest.fixture
def pod(cronjob: Manifest) -> Manifest:
    return dict(cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"])


def test_it_runs_in_the_stores_namespace_as_an_unprivileged_user(cronjob: Manifest, pod: Manifest) -> None:
    assert cronjob["metadata"]["namespace"] == "iris"
    context = pod["securityContext"]
    assert (context["runAsNonRoot"], context["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False


def test_it_runs_a_valid_command(pod: Manifest) -> None:
    (container,) = pod["containers"]
    assert container["command"] == ["python", "-m", "iris_inference.migrate"]
    assert build_parser().parse_args(container["args"]).keep_days == 90
    assert container["envFrom"] == [{"secretRef": {"name": credentials.INFERENCE}}]


def test_a_hanging_or_finished_run_is_removed(cronjob: Manifest) -> None:
    spec = cronjob["spec"]["jobTemplate"]["spec"]
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["ttlSecondsAfterFinished"] > 0
    assert cronjob["spec"]["concurrencyPolicy"] == "Forbid"
