"""The table of what was broken, and what came of it."""

from typing import NamedTuple

from tests.faults.load import CUT, REFUSED, Load

NAMES = {CUT: "cut", REFUSED: "refused"}
ORDER = (
    *("kill -9 of a worker", "to a worker", "cannot start", "kill -9 of the parent"),
    *("SIGHUP", "SIGTERM under load", "SIGTERM", "SIGINT"),
    *("PostgreSQL restarted", "PostgreSQL down", "COMMIT", "SIGSTOP"),
    *("the network", "for a minute"),
    *("pool exhausted", "backends terminated", "max_connections", "deadlock", "serialization"),
    *("hang up", "slow", "idle connections", "capacity", "1 GB"),
    *("log", "standard", "clock", "PgBouncer", "migration"),
)
"""What a fault's name has in it, in the order of the table."""
HEAD = "| fault | requests | errors seen | recovery | remarks |\n| --- | ---: | --- | ---: | --- |"


class Row(NamedTuple):
    """A row of the table."""

    fault: str
    requests: int
    errors: str
    recovery: str
    note: str

    def place(self) -> int:
        """Where it stands. The suite runs file by file."""
        return next((n for n, words in enumerate(ORDER) if words in self.fault), len(ORDER))


rows: list[Row] = []


class Report:
    """Takes the rows of the table."""

    def add(self, fault: str, load: Load, *, recovery: float | None = None, note: str = "") -> None:
        """Add what a load has seen of a fault, and the seconds until the next success after it."""
        self.line(fault, len(load.answers), described(load), recovery=recovery, note=note)

    def line(
        self,
        fault: str,
        requests: int,
        errors: str,
        *,
        recovery: float | None = None,
        note: str = "",
    ) -> None:
        """Add a row."""
        told = "–" if recovery is None else f"{recovery:.2f} s"
        rows.append(Row(fault, requests, errors, told, note))


def described(load: Load) -> str:
    counted = sorted(load.errors.items())
    return (
        ", ".join(f"{number:,} × {NAMES.get(status, status)}" for status, number in counted) or "0"
    )


def table() -> str:
    """Return the table, or nothing if nothing was broken."""
    if not rows:
        return ""
    lines = [
        f"| {row.fault} | {row.requests:,} | {row.errors} | {row.recovery} | {row.note} |"
        for row in sorted(rows, key=Row.place)
    ]
    return "\n".join([HEAD, *lines])
