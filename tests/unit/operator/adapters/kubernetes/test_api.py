"""What an answer of the API server means: status codes alone do not tell a refusal from an outage."""

from __future__ import annotations

import json

import pytest

from iris_operator.adapters.kubernetes.api import _error_for
from iris_operator.engine.ports import Conflict, Forbidden, Refused, ServerError, Unavailable

TWICE = (
    "failed to create typed patch object (iris/iris-abc; apps/v1, Kind=Deployment): .spec.template.spec.containers"
    '[name="inference"].env: duplicate entries for key [name="A"]'
)
UNKNOWN = "failed to create typed patch object: .spec.template.spec.foo: field not declared in schema"
WEBHOOK = 'admission webhook "validate.nginx.ingress.kubernetes.io" denied the request: path cannot contain //'
POLICY = "ingresses.networking.k8s.io \"iris\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no"
RIGHT = 'ingresses "iris" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "ingresses" in API group'
QUOTA = 'deployments.apps "iris" is forbidden: exceeded quota: q, requested: count/deployments.apps=1'


def error(status: int, message: str = "", retry_after: str | None = None) -> Exception:
    return _error_for("PATCH", "/apis/x", status, retry_after, json.dumps({"message": message}).encode())


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (500, TWICE, Refused),
        (500, UNKNOWN, Refused),
        (403, WEBHOOK, Refused),
        (422, "spec.x: Invalid value", Refused),
        (400, "cannot unmarshal", Refused),
        (413, "too large", Refused),
        (403, POLICY, Refused),
        (403, QUOTA, Refused),
        (403, RIGHT, Forbidden),
        (401, "", Forbidden),
        (409, "modified", Conflict),
        (500, "etcdserver: leader changed", ServerError),
        (500, "", ServerError),
        (429, "too many requests", Unavailable),
        (408, "", Unavailable),
        (503, "", Unavailable),
        (504, "", Unavailable),
    ],
)
def test_a_refusal_is_told_from_an_outage(status: int, message: str, kind: type[Exception]) -> None:
    found = error(status, message)
    assert type(found) is kind
    assert message in str(found)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 2.0),
        ("7", 7.0),
        ("86400", 30.0),
        ("9" * 400, 30.0),
        ("-5", 2.0),
        ("nan", 2.0),
        ("\u00b2", 2.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 2.0),
        ("", 2.0),
    ],
)
def test_nobody_waits_longer_than_the_limit(header: str | None, seconds: float) -> None:
    found = error(429, retry_after=header)
    assert isinstance(found, Unavailable)
    assert found.retry_after == seconds


def test_an_answer_that_is_no_json_is_told_as_it_is() -> None:
    assert "<html>" in str(_error_for("GET", "/x", 502, None, b"<html>bad gateway"))
