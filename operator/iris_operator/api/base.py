"""How our types meet JSON: camelCase outside, snake_case inside, immutable."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """Base of every type of the resource."""

    # Unknown fields are ignored: the API server prunes them on the way in, and an older
    # operator must be able to read what a newer CRD has let through.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """The JSON object as the API server stores it: camelCase, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
