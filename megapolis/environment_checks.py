"""Whether a value of the environment can be what it is meant to be."""

import unicodedata
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import environ
import psycopg
from psycopg.conninfo import conninfo_to_dict

SECRET_BYTES = 32
DISTINCT_CHARACTERS = 8


def is_printable(value: str) -> bool:
    return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in value)


def is_weak(secret: str) -> bool:
    return (
        len(secret.encode()) < SECRET_BYTES
        or len(set(secret)) < DISTINCT_CHARACTERS
        or "change-me" in secret.lower()
    )


def is_database_url(value: str) -> bool:
    parts = urlsplit(value) if accepts(urlsplit, value) else urlsplit("")
    if parts.scheme not in {"postgres", "postgresql"} or not is_printable(unquote(value)):
        return False
    if not accepts(conninfo_to_dict, value) or not accepts(environ.Env.db_url_config, value):
        return False
    given = conninfo_to_dict(value)
    return bool(given.get("host")) and bool(given.get("dbname"))


def accepts(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except (ValueError, psycopg.ProgrammingError):
        return False
    return True
