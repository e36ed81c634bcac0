"""Ninja as strict as the contract, and what the schemas of a feature are made of."""

from megapolis.rest.pagination import PageQuery, decode_cursor, encode_cursor, split_page
from megapolis.rest.types import BIGINT_MAX, PRINTABLE_PATTERN, Digits, Id, Text, clean_text

__all__ = [
    "BIGINT_MAX",
    "PRINTABLE_PATTERN",
    "Digits",
    "Id",
    "PageQuery",
    "Text",
    "clean_text",
    "decode_cursor",
    "encode_cursor",
    "split_page",
]
