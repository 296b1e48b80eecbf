import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from iris_local import pki

IDENTITIES = pki.identities(["DNS:kubernetes", "IP:127.0.0.1"], "node-1", "10.0.0.1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "pki"
    pki.ensure(folder, IDENTITIES)
    return folder


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda identity: identity.name)
def test_every_certificate_is_signed_by_its_ca_only(folder: Path, identity: pki.Identity) -> None:
    assert _verified(folder, identity.authority, identity.name)
    for other in {identity.authority for identity in IDENTITIES} - {identity.authority}:
        assert not _verified(folder, other, identity.name), other


def test_keys_are_for_their_owner_only(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_existing_files_are_kept(folder: Path) -> None:
    before = (folder / "admin.crt").read_bytes()
    pki.ensure(folder, IDENTITIES)
    assert (folder / "admin.crt").read_bytes() == before


def test_an_existing_folder_gets_the_files_of_new_identities(folder: Path, tmp_path: Path) -> None:
    older = tmp_path / "pki"
    shutil.copytree(folder, older)
    for file in ("ingress.crt", "ingress.key", "ingress-ca.crt", "ingress-ca.key"):
        (older / file).unlink()
    pki.ensure(older, IDENTITIES)
    assert _verified(older, "ingress-ca", "ingress")
    assert (older / "admin.crt").read_bytes() == (folder / "admin.crt").read_bytes()


def test_a_new_identity_is_signed_later_and_the_others_are_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    pki.ensure(folder, [identity for identity in IDENTITIES if identity.name != "registry"])
    before = (folder / "admin.crt").read_bytes()
    pki.ensure(folder, IDENTITIES)
    assert _verified(folder, "registry-ca", "registry")
    assert (folder / "admin.crt").read_bytes() == before


def test_a_killed_run_is_repeated_from_the_start(tmp_path: Path) -> None:
    draft = tmp_path / "pki.draft"
    draft.mkdir()
    (draft / "ca.key").write_text("half a key")
    pki.ensure(tmp_path / "pki", IDENTITIES)
    assert _verified(tmp_path / "pki", "ca", "admin")
    assert not draft.exists()


def _verified(folder: Path, authority: str, name: str) -> bool:
    openssl = shutil.which("openssl")
    assert openssl
    checked = [openssl, "verify", "-CAfile", str(folder / f"{authority}.crt"), str(folder / f"{name}.crt")]
    return subprocess.run(checked, capture_output=True, check=False).returncode == 0
