"""The command line: `python -m benchmarks [compare | growth | access-log | guards]`."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import access_log, catalogue, database, growth, guards, report, tokens
from benchmarks.bench import Bench, Conditions
from benchmarks.check import WrongAnswerError
from benchmarks.compare import compare
from benchmarks.database import DatabaseError
from benchmarks.placement import free, split
from benchmarks.servers import ServerError
from benchmarks.wrk import LoadError, require_wrk

RESULTS = Path(__file__).with_name("results")
BUSY = 0.5
FAILURES = (LoadError, WrongAnswerError, ServerError, DatabaseError, ValueError)


def main() -> None:
    """Run the command, and end with one sentence when it cannot."""
    options = parse()
    try:
        require_wrk()
        options.run(options)
    except FAILURES as error:
        sys.exit(f"{type(error).__name__}: {error}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, run, widgets, help_text in (
        ("compare", run_compare, 10_000, "the service beside its peers"),
        ("growth", run_growth, 1_000_000, "how the service's cost grows"),
        ("access-log", run_access_log, 10_000, "what the access log costs"),
        ("guards", run_guards, 10_000, "what each guard against faults costs"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.set_defaults(run=run)
        add = command.add_argument
        add("--rounds", type=int, default=5)
        add("--seconds", type=float, default=5.0, help="of each measurement")
        add("--warm-up", type=float, default=1.0, help="seconds before each measurement")
        add("--connections", type=int, default=32)
        add("--pool", type=int, default=10, help="database connections of the server")
        add("--widgets", type=int, default=widgets, help="rows in the table")
        add("--placement", choices=("split", "free"), default="split", help="see the README")
        add("--python", default=".venv/bin/python", help="the service's own interpreter")
        add("--output", type=Path, default=RESULTS, help="folder of the results")
        if name == "compare":
            add("--only", nargs="+", help="names of servers, such as fastapi megapolis")
        if name == "growth":
            add("--requests", type=int, default=200_000, help="while memory is watched")
    return parser.parse_args()


def conditions_of(options: argparse.Namespace) -> Conditions:
    """Return what is the same for every server."""
    placement = split() if options.placement == "split" else free()
    return Conditions(
        rounds=options.rounds,
        seconds=options.seconds,
        warm_up=options.warm_up,
        connections=options.connections,
        pool=options.pool,
        placement=placement,
    )


@contextmanager
def prepared(options: argparse.Namespace) -> Iterator[Bench]:
    """Start PostgreSQL and fill it; yield the bench."""
    conditions = conditions_of(options)
    if conditions.load_before > BUSY:
        say(f"The machine is busy (load average {conditions.load_before:.1f}): figures will drift.")
    say(f"loading {options.widgets:,} widgets")
    with database.running(conditions.placement.database) as socket:
        loaded = database.create(
            socket,
            "benchmark",
            widgets=options.widgets,
            migrate=[options.python, "manage.py", "migrate"],
            environment=catalogue.production_environment(),
        )
        yield Bench(loaded, conditions, tokens.all_tokens(loaded), say)


def run_compare(options: argparse.Namespace) -> None:
    """Measure the service beside its peers, and write table, raw data and chart."""
    candidates = [*catalogue.peers(), catalogue.megapolis(options.python)]
    chosen = [server for server in candidates if not options.only or server.name in options.only]
    with prepared(options) as bench:
        results = compare(chosen, bench)
    report.write(options.output, "comparison", results, bench.conditions)
    print((options.output / "comparison.md").read_text())


def run_growth(options: argparse.Namespace) -> None:
    """Measure how the service's cost grows. What is measured is written, whatever comes after."""
    sections: list[str] = []
    with prepared(options) as bench:
        for section in growth.growth(options.python, bench, options.requests):
            sections.append(section)
            write(options, "growth", "\n\n".join(sections), bench.conditions)


def run_access_log(options: argparse.Namespace) -> None:
    """Measure what the access log costs."""
    with prepared(options) as bench:
        table = access_log.access_log(options.python, bench)
    write(options, "access-log", table, bench.conditions)


def run_guards(options: argparse.Namespace) -> None:
    """Measure what each guard costs."""
    with prepared(options) as bench:
        table = guards.guards(options.python, bench)
    write(options, "guards", table, bench.conditions)


def write(options: argparse.Namespace, name: str, text: str, conditions: Conditions) -> None:
    """Write the Markdown with what the figures depend on, and show it."""
    options.output.mkdir(parents=True, exist_ok=True)
    facts = report.listed(report.environment(conditions))
    (options.output / f"{name}.md").write_text(f"{text}\n\n{facts}\n")
    print(text)


def say(message: str) -> None:
    """Tell the person who waits, apart from the results."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
