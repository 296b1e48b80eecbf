"""The way to a token, as public registries want it. Against a real registry with a password: tests/integration."""

import base64
import hashlib
import io
import json
import urllib.error
import urllib.request
from email.message import Message
from typing import Any

import pytest

from iris_local.registry import RegistryAccess
from iris_pipeline.errors import PipelineError
from iris_pipeline.oci import RegistryClient, RemoteImage

MANIFEST = json.dumps({"config": {"digest": "sha256:c"}, "layers": []}).encode()
BASIC = f"Basic {base64.b64encode(b'iris:word').decode()}"


class Internet:
    """A registry that wants a token, and the place that gives one for the password."""

    def __init__(self, challenge: str) -> None:
        self.challenge, self.asked = challenge, list[tuple[str, str]]()

    def open(self, request: urllib.request.Request, **_: Any) -> io.BytesIO:
        authorization = request.get_header("Authorization") or ""
        self.asked.append((request.full_url, authorization))
        if request.full_url.startswith("https://tokens.example.com/give?") and authorization == BASIC:
            return io.BytesIO(json.dumps({"token": "abc"}).encode())
        if authorization == "Bearer abc":
            return io.BytesIO(MANIFEST)
        headers = Message()
        headers["WWW-Authenticate"] = self.challenge
        raise urllib.error.HTTPError(request.full_url, 401, "no", headers, io.BytesIO(b"who are you?"))


def asking(monkeypatch: pytest.MonkeyPatch, challenge: str) -> tuple[RegistryClient, Internet]:
    internet = Internet(challenge)
    monkeypatch.setattr(urllib.request, "urlopen", internet.open)
    return RegistryClient(RegistryAccess("registry.example.com/team/iris", "iris", "word")), internet


def test_a_password_is_given_for_a_token_at_the_place_that_the_registry_names(monkeypatch: pytest.MonkeyPatch) -> None:
    scope = "repository:team/iris/iris-operator:pull"
    registry, internet = asking(
        monkeypatch, f'Bearer realm="https://tokens.example.com/give",service="registry",scope="{scope}"'
    )
    found = registry.find("iris-operator", "1.0.0")
    assert found == RemoteImage(f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}", "sha256:c")
    url = "https://registry.example.com/v2/team/iris/iris-operator/manifests/1.0.0"
    token = "https://tokens.example.com/give?service=registry&scope=repository%3Ateam%2Firis%2Firis-operator%3Apull"
    assert internet.asked == [(url, ""), (token, BASIC), (url, "Bearer abc")]


def test_the_password_is_not_sent_to_a_place_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, internet = asking(monkeypatch, 'Bearer realm="http://tokens.example.com/give",service="registry"')
    with pytest.raises(PipelineError, match="unknown kind of authentication"):
        registry.find("iris-operator", "1.0.0")
    assert BASIC not in [authorization for _, authorization in internet.asked]


def test_a_wrong_password_is_an_error_and_not_an_image_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, _ = asking(monkeypatch, 'Basic realm="registry"')
    with pytest.raises(PipelineError, match=r"answered 401 .*: who are you"):
        registry.find("iris-operator", "1.0.0")
