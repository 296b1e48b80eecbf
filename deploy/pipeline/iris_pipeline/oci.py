"""Asks a registry what it holds, over the OCI distribution API, with a password or a token that it gives for one."""

import base64
import hashlib
import json
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from iris_local.registry import Access
from iris_pipeline.errors import PipelineError

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_SECONDS = 30.0
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Stored:
    """An image in a registry: the digest by which it is pulled, and that of its configuration: its identity."""

    digest: str
    configuration: str


@dataclass
class Registry:
    """One registry, which may be a part of one: `access.address` is its host, with a path for those that need one."""

    access: Access
    _context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        authority = self.access.authority
        # What the machine trusts, and for a registry of our own its own authority and no other.
        self._context = ssl.create_default_context(cafile=str(authority / "ca.crt") if authority else None)

    def repository(self, name: str) -> str:
        """The full name of a repository, as an image reference begins with it."""
        return f"{self.access.address}/{name}"

    def find(self, name: str, reference: str) -> Stored | None:
        """The image of that tag or digest, or None when the registry has none.

        Raises:
            PipelineError: the registry cannot be reached, or refuses to say.
        """
        host, _, prefix = self.access.address.partition("/")
        path = f"{prefix}/{name}" if prefix else name
        body = self._get(f"https://{host}/v2/{path}/manifests/{reference}")
        if body is None:
            return None
        manifest = json.loads(body)
        if "config" not in manifest:
            raise PipelineError(f"{self.repository(name)}:{reference} is no single image but an index of several.")
        return Stored(f"sha256:{hashlib.sha256(body).hexdigest()}", manifest["config"]["digest"])

    def _get(self, url: str) -> bytes | None:
        headers = {"Accept": ", ".join(_MANIFESTS)}
        try:
            return self._fetch(url, headers)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.UNAUTHORIZED:
                raise self._complaint(url, error) from error
            with error:
                challenge = error.headers.get("WWW-Authenticate", "")
        try:
            return self._fetch(url, headers | {"Authorization": self._answer(challenge)})
        except urllib.error.HTTPError as error:
            raise self._complaint(url, error) from error

    def _fetch(self, url: str, headers: dict[str, str]) -> bytes | None:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - https, see find()
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS, context=self._context) as answer:  # noqa: S310
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                error.close()
                return None
            raise
        except OSError as error:
            raise PipelineError(f"The registry does not answer at {url}: {error}") from error

    def _answer(self, challenge: str) -> str:
        """What the registry wants to see: the password itself, or a token from the place that it names."""
        if challenge.lower().startswith("basic"):
            return self._basic
        asked = dict(_PARAMETER.findall(challenge))
        if not asked.get("realm", "").startswith("https://"):
            raise PipelineError(
                f"The registry at {self.access.address} asks for a login of an unknown kind: {challenge!r}"
            )
        query = urlencode({key: asked[key] for key in ("service", "scope") if key in asked})
        try:
            body = self._fetch(f"{asked['realm']}?{query}", {"Authorization": self._basic})
        except urllib.error.HTTPError as error:
            raise self._complaint(asked["realm"], error) from error
        told: dict[str, Any] = json.loads(body or b"{}")
        return f"Bearer {told.get('token') or told.get('access_token')}"

    @property
    def _basic(self) -> str:
        pair = f"{self.access.username}:{self.access.password}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _complaint(self, url: str, error: urllib.error.HTTPError) -> PipelineError:
        with error:
            told = error.read().decode(errors="replace")[:300]
        return PipelineError(f"The registry answers {error.code} for {url}: {told}")
