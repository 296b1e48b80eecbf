import base64
from pathlib import Path

import pytest

from iris_demo.scenario import FILES, Act
from iris_install import certificate, credentials
from iris_install.errors import InstallError


def test_the_secret_holds_what_the_local_authority_has_signed(tmp_path: Path) -> None:
    (tmp_path / "ingress.crt").write_text("a certificate")
    (tmp_path / "ingress.key").write_text("a key")

    made = certificate.manifest(tmp_path)

    assert made["type"] == "kubernetes.io/tls"
    assert {key: base64.b64decode(value) for key, value in made["data"].items()} == {
        "tls.crt": b"a certificate",
        "tls.key": b"a key",
    }


def test_without_one_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"ingress\.crt is missing: run `make cluster-up`"):
        certificate.to_text(tmp_path)


@pytest.mark.parametrize(("act", "version"), FILES)
def test_the_demo_s_releases_name_the_secret_that_is_made(act: Act, version: str) -> None:
    release = act.manifest(version)
    assert release["spec"]["traffic"]["ingress"]["tlsSecretName"] == certificate.NAME
    assert release["metadata"]["namespace"] == credentials.NAMESPACE
