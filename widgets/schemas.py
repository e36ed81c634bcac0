"""What the endpoints of widgets take and give."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from megapolis.rest import PageQuery, Text
from widgets.models import NAME_MAX_LENGTH

type WidgetOrder = Literal["id", "-id", "name", "-name"]
type WidgetName = Annotated[
    str,
    Text(max_length=NAME_MAX_LENGTH),
    Field(description="Unique. Trimmed, and stored as Unicode NFC."),
]


class WidgetCreateRequest(BaseModel):
    """A new widget."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Sprocket"}]}
    )

    name: WidgetName


class WidgetUpdateRequest(BaseModel):
    """The changes to a widget. What is absent stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Cog"}]})

    # May be absent and never null. The default is not used: the service takes what is set.
    name: WidgetName = Field(default_factory=str)


class WidgetResponse(BaseModel):
    """A widget."""

    id: int
    name: str
    owner_id: int
    created_at: datetime
    updated_at: datetime


class WidgetListQuery(PageQuery):
    """Which widgets, in which order, and how many of them."""

    search: Annotated[str, Text(max_length=NAME_MAX_LENGTH)] | None = Field(
        None, description="Names that begin so, in any case."
    )
    owner: Literal["me"] | None = Field(None, description="Only those of this owner.")
    order: WidgetOrder | None = Field(
        None,
        description="`id` is oldest first, and the default. A search is always in order of `name`.",
    )


class WidgetListResponse(BaseModel):
    """A page of widgets."""

    items: list[WidgetResponse]
    next_cursor: str | None = Field(description="Null on the last page.")
