import base64
from pathlib import Path

import pytest

from iris_demo.scenario import FILES, DemoScenario
from iris_install import certificate, credentials
from iris_install.errors import InstallError


def test_the_secret_holds_the_certificate_of_the_local_ca(tmp_path: Path) -> None:
    (tmp_path / "ingress.crt").write_text("a certificate")
    (tmp_path / "ingress.key").write_text("a key")

    made = certificate.manifest(tmp_path)

    assert made["type"] == "kubernetes.io/tls"
    assert {key: base64.b64decode(value) for key, value in made["data"].items()} == {
        "tls.crt": b"a certificate",
        "tls.key": b"a key",
    }


def test_a_missing_certificate_is_an_error_that_says_how_to_create_it(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"ingress\.crt is missing: run `make cluster-up`"):
        certificate.as_json(tmp_path)


@pytest.mark.parametrize(("scenario", "version"), FILES)
def test_the_demos_releases_refer_to_the_secret(scenario: DemoScenario, version: str) -> None:
    release = scenario.manifest(version)
    assert release["spec"]["traffic"]["ingress"]["tlsSecretName"] == certificate.SECRET
    assert release["metadata"]["namespace"] == credentials.NAMESPACE
