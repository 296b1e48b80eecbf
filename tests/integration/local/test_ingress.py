"""The local cluster's Ingress controller, as it is configured there, on the operator's Ingresses of a release with TLS.

It runs without a cluster: its rights and its view come from a real API server. No pod answers behind it, so that what
it lets through ends with 503.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from iris_local import pki
from iris_local.paths import LOCAL
from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.routers.ingress import canary_ingress, primary_ingress
from iris_operator.api import names
from iris_operator.engine.manifests import service
from iris_operator.engine.release import parse_release
from support.operator.controllers import with_api
from support.operator.simulation import manifest
from support.servers.kubernetes import KubeApiserver
from support.servers.process import ServerProcess, free_port
from support.servers.tools import component

MANIFEST = LOCAL / "manifests" / "traefik.yaml"
NAMESPACE = "served-by-https"
# Of this test alone: other releases of the same API server have left their Ingresses, without a certificate.
HOST = "served-by-https.example.com"
CERTIFICATE = "iris-tls"
ROUTED_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """Status and headers."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Controller:
    """Where it listens on loopback, and the authority that signed the release's certificate."""

    web: int
    websecure: int
    authority: Path

    async def ask(self, scheme: str, host: str = HOST) -> Answer:
        """A prediction for the host; aiohttp.ClientConnectorCertificateError when the certificate is not the host's."""
        port = self.websecure if scheme == "https" else self.web
        trusted = ssl.create_default_context(cafile=str(self.authority))
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted), headers={"Host": host}) as session,
            session.post(
                f"{scheme}://127.0.0.1:{port}/v1/predict?a=b", server_hostname=host, allow_redirects=False
            ) as answer,
        ):
            return Answer(answer.status, dict(answer.headers))

    async def until_routed(self) -> None:
        """Wait until it has taken the release's Ingresses in; it tells nobody when."""
        deadline = time.monotonic() + ROUTED_SECONDS
        while (await self.ask("http")).status == http.client.NOT_FOUND:
            assert time.monotonic() < deadline, "the Ingresses are not routed"
            await asyncio.sleep(0.1)


def arguments(ports: Mapping[str, int], server: KubeApiserver, folder: Path) -> list[str]:
    """The cluster's own, with other ports, and with the way to the API server that a pod is given by its node."""
    (deployment,) = (item for item in yaml.safe_load_all(MANIFEST.read_text()) if item["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given = [argument for argument in container["args"] if ".address=" not in argument]
    access = json.loads(server.kubeconfig_for("ingress", "traefik").read_text())
    (folder / "token").write_text(access["users"][0]["user"]["token"])
    provider = "--providers.kubernetesIngressNginx"
    return [
        *given,
        *(f"--entryPoints.{name}.address=127.0.0.1:{port}" for name, port in ports.items()),
        f"{provider}.endpoint={server.url}",
        f"{provider}.token={folder / 'token'}",
        f"{provider}.certAuthFilePath={access['clusters'][0]['cluster']['certificate-authority']}",
    ]


async def write_release(api: KubernetesApi) -> None:
    """The operator's objects of a release with a certificate, a fifth of its traffic on the canary."""
    ingress = {"tlsSecretName": CERTIFICATE}
    body: dict[str, Any] = manifest("1.0.0", traffic={"host": HOST, "ingress": ingress})
    body["metadata"] |= {"namespace": NAMESPACE, "uid": "0", "generation": 1, "resourceVersion": "1"}
    release = parse_release(body)
    for name in (names.stable_service(release.name), names.canary_service(release.name)):
        await api.apply(service(release, name, "0"))
    for made in (primary_ingress(release), canary_ingress(release, 20)):
        await api.apply(made)


@pytest.fixture(scope="module")
def controller(kube_apiserver: KubeApiserver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    folder = tmp_path_factory.mktemp("traefik")
    certificates = folder / "pki"
    pki.ensure(certificates, pki.identities(["IP:127.0.0.1"], "node", "127.0.0.1"))
    kube_apiserver.apply(MANIFEST)
    kube_apiserver.create_namespace(NAMESPACE)
    files = {"tls.crt": "ingress.crt", "tls.key": "ingress.key"}
    data = {key: base64.b64encode((certificates / file).read_bytes()).decode() for key, file in files.items()}
    secret = {"metadata": {"name": CERTIFICATE}, "type": "kubernetes.io/tls", "data": data}
    kube_apiserver.request("POST", f"/api/v1/namespaces/{NAMESPACE}/secrets", secret)
    with_api(kube_apiserver.kubeconfig, write_release)
    ports = {"web": free_port(), "websecure": free_port(), "internal": free_port()}
    process = ServerProcess(
        [component("traefik"), *arguments(ports, kube_apiserver, folder)],
        folder / "traefik.log",
        ready=lambda: _pings(ports["internal"]),
    )
    process.start()
    yield Controller(ports["web"], ports["websecure"], certificates / "ingress-ca.crt")
    process.stop()


def _pings(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


async def test_plain_http_is_redirected_to_https(controller: Controller) -> None:
    await controller.until_routed()
    answer = await controller.ask("http")
    assert answer.status == http.client.PERMANENT_REDIRECT
    assert answer.headers["Location"] == f"https://{HOST}/v1/predict?a=b"


async def test_https_uses_the_releases_certificate_and_is_routed_to_its_services(controller: Controller) -> None:
    await controller.until_routed()
    assert (await controller.ask("https")).status == http.client.SERVICE_UNAVAILABLE


async def test_a_host_without_a_certificate_does_not_get_another_hosts(controller: Controller) -> None:
    await controller.until_routed()
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await controller.ask("https", "iris.example.org")
