"""The load generator over TLS, with a certificate as the local cluster makes them."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from iris_demo.load import LoadConfig, generate
from iris_demo.samples import Kind, Sample
from iris_demo.traffic import wait_until_serving
from iris_local import pki


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "pki"
    pki.ensure(folder, pki.identities(["IP:127.0.0.1"], "node", "127.0.0.1"))
    return folder


@asynccontextmanager
async def serving(certificates: Path) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"host": request.host})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "ingress.crt", certificates / "ingress.key")
    app = web.Application()
    app.router.add_post("/v1/predict", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/v1/predict"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("host", "authority", "expected"),
    [
        ("iris.example.com", "ingress-ca.crt", Kind.OK),
        # Another authority's word, and a certificate for somebody else.
        ("iris.example.com", "ca.crt", Kind.CONNECT),
        ("iris.example.org", "ingress-ca.crt", Kind.CONNECT),
    ],
)
async def test_only_the_hosts_own_certificate_is_trusted(
    certificates: Path, host: str, authority: str, expected: Kind
) -> None:
    samples: list[Sample] = []
    async with serving(certificates) as url:
        load = LoadConfig(url, host, rate=50, seconds=2, requests=5, ca_file=str(certificates / authority))
        await generate(load, asyncio.Event(), samples.append)
    assert Counter(sample.kind for sample in samples) == {expected: 5}


async def test_serving_is_awaited_over_tls_too(certificates: Path) -> None:
    async with serving(certificates) as url:
        authority = str(certificates / "ingress-ca.crt")
        await wait_until_serving(LoadConfig(url, "iris.example.com", 1, 1, 1, ca_file=authority), seconds=5)
