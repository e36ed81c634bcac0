"""How many rows a table has, in all and per day, at a cost that does not grow with the table."""

import json
from datetime import UTC, date, datetime, time, timedelta

import psycopg
from django.db import OperationalError, connection, models, transaction
from django.db.models import Count
from django.db.models.functions import TruncDate

DAYS = 30
COUNTED = 10_000
"""Up to here rows are counted; beyond, PostgreSQL's planner is asked for its estimate."""
PER_DAY_TIMEOUT = 2_000
"""Milliseconds after which counting per day is given up."""


def total(model: type[models.Model]) -> str:
    """Return how many rows there are, or about how many if there are many."""
    rows = model._default_manager.order_by()
    counted = rows[: COUNTED + 1].count()
    if counted <= COUNTED:
        return f"{counted:,}"
    plan = json.loads(rows.explain(format="json"))[0]["Plan"]
    return f"about {int(float(f'{plan["Plan Rows"]:.3g}')):,}"


def per_day(model: type[models.Model], *, until: date) -> dict[date, int] | None:
    """Return how many rows were created on each of the last DAYS days, up to and with `until`.

    None if there are too many to count in PER_DAY_TIMEOUT.
    """
    days = [until - timedelta(days=ago) for ago in reversed(range(DAYS))]
    start = datetime.combine(days[0], time(), UTC)
    rows = model._default_manager.filter(
        pk__gte=first_id_since(model, start - timedelta(days=1)), created_at__gte=start
    )
    counts = rows.order_by().values_list(TruncDate("created_at")).annotate(Count("pk"))
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, true)", [str(PER_DAY_TIMEOUT)]
            )
            counted = dict(counts)
    except OperationalError as exc:
        if isinstance(exc.__cause__, psycopg.errors.QueryCanceled):
            return None
        raise
    return {day: counted.get(day, 0) for day in days}


def first_id_since(model: type[models.Model], moment: datetime) -> int:
    """Return an id below which no row was created after `moment`.

    Ids are given out in the order of time, so a binary search finds it in some twenty reads by
    primary key. An index on `created_at` would do the same, at the cost of every insert.
    """
    rows = model._default_manager.order_by("pk").values_list("pk", "created_at")
    newest = rows.last()
    low, high = 0, newest[0] + 1 if newest else 0
    while low < high:
        middle = (low + high) // 2
        row = rows.filter(pk__gte=middle).first()
        if row is None or row[1] >= moment:
            high = middle
        else:
            low = row[0] + 1
    return low
