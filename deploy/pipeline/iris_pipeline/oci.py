"""Looks up images in a registry over the OCI distribution API, with basic or token authentication."""

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

from iris_local.registry import RegistryAccess
from iris_pipeline.errors import PipelineError

_MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_TIMEOUT_SECONDS = 30.0
_CHALLENGE_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class RemoteImage:
    """An image in a registry: the digest by which it is pulled, and the digest of its configuration, its image id."""

    digest: str
    config_digest: str


@dataclass
class RegistryClient:
    """A client of one registry: `access.address` is its host, with a path prefix where the registry needs one."""

    access: RegistryAccess
    _tls_context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        authority = self.access.ca_dir
        # The system's CAs, or for a registry of our own its own CA and no other.
        self._tls_context = ssl.create_default_context(cafile=str(authority / "ca.crt") if authority else None)

    def repository(self, name: str) -> str:
        """The full name of a repository, as an image reference begins with it."""
        return f"{self.access.address}/{name}"

    def find(self, name: str, reference: str) -> RemoteImage | None:
        """The image of that tag or digest, or None when the registry has none.

        Raises:
            PipelineError: the registry cannot be reached, or denies access.
        """
        host, _, prefix = self.access.address.partition("/")
        path = f"{prefix}/{name}" if prefix else name
        body = self._get(f"https://{host}/v2/{path}/manifests/{reference}")
        if body is None:
            return None
        manifest = json.loads(body)
        if "config" not in manifest:
            raise PipelineError(f"{self.repository(name)}:{reference} is not a single image but an index of several.")
        return RemoteImage(f"sha256:{hashlib.sha256(body).hexdigest()}", manifest["config"]["digest"])

    def _get(self, url: str) -> bytes | None:
        headers = {"Accept": ", ".join(_MANIFEST_TYPES)}
        try:
            return self._fetch(url, headers)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.UNAUTHORIZED:
                raise self._error(url, error) from error
            with error:
                challenge = error.headers.get("WWW-Authenticate", "")
        try:
            return self._fetch(url, headers | {"Authorization": self._authorization(challenge)})
        except urllib.error.HTTPError as error:
            raise self._error(url, error) from error

    def _fetch(self, url: str, headers: dict[str, str]) -> bytes | None:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - https, see find()
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=self._tls_context) as response:  # noqa: S310
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                error.close()
                return None
            raise
        except OSError as error:
            raise PipelineError(f"The registry does not answer at {url}: {error}") from error

    def _authorization(self, challenge: str) -> str:
        """The Authorization header for a challenge: the password itself, or a token from the named realm."""
        if challenge.lower().startswith("basic"):
            return self._basic_authorization
        parameters = dict(_CHALLENGE_PARAMETER.findall(challenge))
        if not parameters.get("realm", "").startswith("https://"):
            raise PipelineError(
                f"The registry at {self.access.address} requires an unknown kind of authentication: {challenge!r}"
            )
        query = urlencode({key: parameters[key] for key in ("service", "scope") if key in parameters})
        try:
            body = self._fetch(f"{parameters['realm']}?{query}", {"Authorization": self._basic_authorization})
        except urllib.error.HTTPError as error:
            raise self._error(parameters["realm"], error) from error
        token: dict[str, Any] = json.loads(body or b"{}")
        return f"Bearer {token.get('token') or token.get('access_token')}"

    @property
    def _basic_authorization(self) -> str:
        pair = f"{self.access.username}:{self.access.password}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _error(self, url: str, error: urllib.error.HTTPError) -> PipelineError:
        with error:
            message = error.read().decode(errors="replace")[:300]
        return PipelineError(f"The registry answered {error.code} for {url}: {message}")
