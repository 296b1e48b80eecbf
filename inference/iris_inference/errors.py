"""The error of a request as an HTTP problem. Recording and feedback raise errors of their own, which `api` maps."""

from collections.abc import Sequence
from http import HTTPStatus

from pydantic_core import ErrorDetails


class ProblemError(Exception):
    """An error response: its status, a kind for programs, and a detail for people."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        errors: Sequence[ErrorDetails] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers
