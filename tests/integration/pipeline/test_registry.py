"""The registry as the local cluster runs it: the program, its settings from the manifest, TLS and a password."""

import dataclasses
import hashlib
import json
import ssl
import urllib.error
import urllib.request

import pytest

from iris_local.registry import RegistryAccess
from iris_pipeline.errors import PipelineError
from iris_pipeline.oci import RegistryClient, RemoteImage


def send(
    access: RegistryAccess, method: str, path: str, body: bytes = b"", content_type: str = ""
) -> tuple[int, str, str]:
    """One request with the password; the status, the Location and the text of the answer."""
    url = path if path.startswith("https://") else f"https://{access.address}/v2/{path}"
    request = urllib.request.Request(url, data=body, method=method)
    request.add_header("Authorization", RegistryClient(access)._basic_authorization)
    request.add_header("Content-Type", content_type or "application/octet-stream")
    try:
        with urllib.request.urlopen(request, context=RegistryClient(access)._tls_context) as answer:
            return answer.status, answer.headers.get("Location", ""), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, "", error.read().decode()


def push(access: RegistryAccess, name: str, tag: str, content: str) -> tuple[int, str, RemoteImage]:
    """A whole, small image; the status and the text of the answer to its manifest, and what it is."""
    digests: list[str] = []
    parts = []
    for blob in (json.dumps({"made": content}).encode(), content.encode()):
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        _, location, _ = send(access, "POST", f"{name}/blobs/uploads/")
        status, _, _ = send(access, "PUT", f"{location}&digest={digest}", blob)
        assert status == 201
        digests.append(digest)
        parts.append({"digest": digest, "size": len(blob)})
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **parts[0]},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **parts[1]}],
    }
    body = json.dumps(manifest).encode()
    status, _, text = send(access, "PUT", f"{name}/manifests/{tag}", body, str(manifest["mediaType"]))
    return status, text, RemoteImage(f"sha256:{hashlib.sha256(body).hexdigest()}", digests[0])


def test_a_pushed_image_is_found_by_tag_and_by_digest(access: RegistryAccess) -> None:
    status, _, pushed = push(access, "found", "1.0.0", "one")
    assert status == 201
    registry = RegistryClient(access)
    assert registry.find("found", "1.0.0") == registry.find("found", pushed.digest) == pushed
    assert registry.find("found", "2.0.0") is None
    assert registry.find("nothing", "1.0.0") is None


def test_a_tag_is_immutable(access: RegistryAccess) -> None:
    _, _, first = push(access, "fixed", "1.0.0", "one")
    status, text, other = push(access, "fixed", "1.0.0", "two")
    assert status == 403
    assert f"tags are immutable: 1.0.0 is {first.digest} and stays it" in text
    assert RegistryClient(access).find("fixed", "1.0.0") == first
    # The manifest itself was refused, and did not come in without its tag.
    assert RegistryClient(access).find("fixed", other.digest) is None


def test_pushing_the_same_image_again_is_allowed(access: RegistryAccess) -> None:
    assert [push(access, "again", "1.0.0", "one")[0] for _ in range(2)] == [201, 201]


def test_the_tag_latest_is_refused(access: RegistryAccess) -> None:
    status, text, _ = push(access, "newest", "latest", "one")
    assert status == 403
    assert "the tag latest is refused" in text


def test_a_tag_cannot_be_deleted_to_be_moved(access: RegistryAccess) -> None:
    push(access, "deleted", "1.0.0", "one")
    status, _, _ = send(access, "DELETE", "deleted/manifests/1.0.0")
    assert status == 405
    assert RegistryClient(access).find("deleted", "1.0.0") is not None


@pytest.mark.parametrize("change", [{"password": "another"}, {"username": "nobody"}])
def test_without_the_password_nothing_is_readable(access: RegistryAccess, change: dict[str, str]) -> None:
    push(access, "guarded", "1.0.0", "one")
    with pytest.raises(PipelineError, match="answered 401"):
        RegistryClient(dataclasses.replace(access, **change)).find("guarded", "1.0.0")  # type: ignore[arg-type]  # of several types


def test_a_registry_with_a_certificate_of_another_ca_is_rejected(access: RegistryAccess) -> None:
    stranger = RegistryClient(dataclasses.replace(access, ca_dir=None))
    with pytest.raises(PipelineError, match="CERTIFICATE_VERIFY_FAILED"):
        stranger.find("found", "1.0.0")


def test_plain_http_is_rejected(access: RegistryAccess) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://{access.address}/v2/")
    with refused.value as error:
        assert error.code == 400
    assert ssl.get_server_certificate(("127.0.0.1", int(access.address.rpartition(":")[2])))
