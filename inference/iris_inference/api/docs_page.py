"""`/docs`: Swagger UI from this service's own port, for clusters that cannot or must not reach a CDN.

Its files come from the package fastapi-offline, of which nothing else is used. The page has no inline script, so that
its Content-Security-Policy can refuse every script, style and connection that is not this service's.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse

PATH: Final = "/docs"
# Relative URLs, so that it also works behind a gateway that adds a path prefix.
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Iris predictions</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Unless `validatorUrl` is null, the page sends the URL of the document to Swagger's online validator.
_START_SCRIPT: Final = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""
_JAVASCRIPT: Final = "text/javascript"
_FILES: Final = {"swagger-ui-bundle.js": _JAVASCRIPT, "swagger-ui.css": "text/css"}

# `data:` is for the icons that the style sheet embeds.
_CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SECURITY_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
# The bundle has one and a half megabytes and changes only with the container image.
_CACHE_ONE_HOUR: Final = {"Cache-Control": "max-age=3600"}


def add_docs(api: FastAPI) -> None:
    """Add the page and its files, which are not in the OpenAPI document."""
    router = APIRouter(prefix=PATH, include_in_schema=False)

    @router.get("")
    async def page() -> Response:
        return Response(
            _PAGE,
            media_type="text/html",
            headers={**_SECURITY_HEADERS, "Content-Security-Policy": _CONTENT_SECURITY_POLICY},
        )

    @router.get("/start.js")
    async def start() -> Response:
        return Response(_START_SCRIPT, media_type=_JAVASCRIPT, headers=_SECURITY_HEADERS | _CACHE_ONE_HOUR)

    for name, media_type in _FILES.items():
        _add_file(router, name, media_type)
    api.include_router(router)


def _add_file(router: APIRouter, name: str, media_type: str) -> None:
    @router.get(f"/{name}")
    async def file() -> Response:
        return FileResponse(_folder() / name, media_type=media_type, headers=_SECURITY_HEADERS | _CACHE_ONE_HOUR)


@cache
def _folder() -> Path:
    # Located without an import: the package's own code is not needed.
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package fastapi-offline is not installed; it is in inference/requirements.txt")
    return Path(spec.origin).with_name("static")
