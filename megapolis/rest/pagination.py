"""Keyset pages: a cursor holds the sort key of the last row, so that every page costs the same.

https://www.postgresql.org/docs/current/queries-limit.html says why an offset does not.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from megapolis.encoding import decode_base64url, encode_base64url
from megapolis.environment import limits
from megapolis.errors import UnprocessableContent
from megapolis.rest.types import Digits

CURSOR_MAX_LENGTH: Final = 4 * 1024
"""PostgreSQL indexes keys of up to 2,704 bytes; a cursor holds one, and the filters of its list."""


class PageQuery(BaseModel):
    """Which page of a list, and how long it is. A list adds its filters to it."""

    limit: Annotated[int, Field(ge=1, le=limits.PAGE_SIZE_MAX), Digits] = limits.PAGE_SIZE
    cursor: str | None = Field(
        None, max_length=CURSOR_MAX_LENGTH, description="The `next_cursor` of the page before."
    )


class InvalidCursor(UnprocessableContent):
    """The cursor was not made by this list with this order and these filters."""

    detail = "The cursor does not belong to this list"


def encode_cursor(key: tuple[Any, ...], *, context: str) -> str:
    """Return the cursor behind the row with this sort key. `context` names order and filters."""
    return encode_base64url(orjson.dumps([context, *key])).decode()


def decode_cursor[Key: tuple[Any, ...]](cursor: str, *, context: str, key: TypeAdapter[Key]) -> Key:
    """Return the sort key in the cursor; `InvalidCursor` unless it is exactly of this kind."""
    try:
        _, *values = orjson.loads(decode_base64url(cursor.encode("ascii")))
        decoded = key.validate_python(tuple(values), strict=True)
    except (ValueError, TypeError, ValidationError):
        raise InvalidCursor from None
    # JSON can be written in more than one way; `encode_cursor` writes one of them.
    if encode_cursor(decoded, context=context) != cursor:
        raise InvalidCursor
    return decoded


def split_page[Row](
    rows: list[Row], *, limit: int, cursor_of: Callable[[Row], str]
) -> tuple[list[Row], str | None]:
    """Split `limit + 1` rows into the page and the cursor of the next one, if there is one."""
    if len(rows) <= limit:
        return rows, None
    page = rows[:limit]
    return page, cursor_of(page[-1])
