"""`/docs` works where no other host can be reached, and lets no other host in."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest

from support.inference.api import Api, assert_problem

BUNDLE = "/docs/swagger-ui-bundle.js"


class Page(HTMLParser):
    """What a page refers to, and what of it a browser would run or style by itself."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.references += [given[name] or "" for name in ("src", "href", "action", "data", "srcset") if name in given]
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


def page_of(service: Api) -> Page:
    return Page(service.client.get("/docs").text)


def test_the_page_references_only_this_host(good_service: Api) -> None:
    """Seen to fail with FastAPI's own page."""
    references = page_of(good_service).references
    assert len(references) == 4
    for reference in references:
        url = urlsplit(urljoin(f"{good_service.url}/docs", reference))
        assert url.scheme == "data" or f"{url.scheme}://{url.netloc}" == good_service.url, reference


@pytest.mark.parametrize(
    ("path", "media_type", "holds"),
    [
        ("/docs", "text/html", 'id="swagger-ui"'),
        ("/docs/start.js", "text/javascript", "SwaggerUIBundle({"),
        (BUNDLE, "text/javascript", "SwaggerUIBundle"),
        ("/docs/swagger-ui.css", "text/css", ".swagger-ui"),
    ],
)
def test_the_page_and_its_files_have_the_right_media_types(
    good_service: Api, path: str, media_type: str, holds: str
) -> None:
    answer = good_service.client.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == f"{media_type}; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert holds in answer.text[:5_000]


def test_every_file_that_the_page_references_exists(good_service: Api) -> None:
    files = [urljoin("/docs", name) for name in page_of(good_service).references if not name.startswith("data:")]
    assert len(files) == 3
    assert [good_service.client.get(file).status_code for file in files] == [200] * 3


def test_the_files_load_resources_only_from_this_host(good_service: Api) -> None:
    start = good_service.client.get("/docs/start.js").text
    (document,) = re.findall(r'url: "([^"]+)"', start)
    assert "paths" in good_service.client.get(urljoin("/docs", document)).json()
    # By default the page shows a badge of Swagger's online validator, which gets the URL of the document.
    assert "validatorUrl: null" in start
    style = good_service.client.get("/docs/swagger-ui.css").text
    assert {url.strip("\"'")[:5] for url in re.findall(r"url\(([^)]*)\)", style)} <= {"data:"}
    assert "@import" not in style


def test_the_content_security_policy_allows_only_this_service(good_service: Api) -> None:
    """Seen to fail with `'unsafe-inline'` and with a CDN among the sources."""
    header = good_service.client.get("/docs").headers["Content-Security-Policy"]
    policy = {name: set(sources) for name, *sources in (directive.split() for directive in header.split(";"))}
    assert policy.pop("img-src") == {"'self'", "data:"}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == {"'none'"}
    assert set.union(*policy.values()) == {"'none'", "'self'"}
    assert page_of(good_service).inline == []


@pytest.mark.parametrize("path", ["/docs/redoc.standalone.js", "/docs/..%2fcore.py", "/docs/nothing", "/redoc"])
def test_nothing_else_of_the_package_is_served(good_service: Api, path: str) -> None:
    assert_problem(good_service.client.get(path), 404)
