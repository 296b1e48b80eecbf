"""Base of the resource's types: camelCase in JSON, snake_case in Python, immutable."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """Base of every type of the resource."""

    # Unknown fields are ignored: the API server prunes them, and an older operator must be able to read a resource that
    # a newer CRD has admitted.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """The JSON object as the API server stores it: camelCase, without nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
