"""The command line: `python -m benchmarks COMMAND`."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import (
    access_log,
    catalogue,
    database,
    distance,
    growth,
    guards,
    overload,
    report,
    tokens,
)
from benchmarks.bench import Bench, Conditions
from benchmarks.check import WrongAnswerError
from benchmarks.compare import compare
from benchmarks.database import DatabaseError
from benchmarks.placement import free, split
from benchmarks.servers import Server, ServerError
from benchmarks.wrk import LoadError, require_wrk

RESULTS = Path(__file__).with_name("results")
BUSY = 0.5
FAILURES = (LoadError, WrongAnswerError, ServerError, DatabaseError, ValueError, OSError)
COMPARISONS = ("compare", "distance", "overload")


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
        ("distance", run_distance, 10_000, "the same with a database further and further away"),
        ("overload", run_overload, 10_000, "more clients and requests than the service can serve"),
        ("growth", run_growth, 1_000_000, "how the service's cost grows"),
        ("access-log", run_access_log, 10_000, "what the access log costs"),
        ("guards", run_guards, 10_000, "what each guard against faults costs"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.set_defaults(run=run, checkout=database.CHECKOUT, connections=None)
        add = command.add_argument
        add("--rounds", type=int, default=5)
        add("--seconds", type=float, default=5.0, help="of each measurement")
        warm_up = 2.0 if name in {"distance", "overload"} else 1.0
        add("--warm-up", type=float, default=warm_up, help="seconds before each measurement")
        add("--pool", type=int, help="database connections of the server (default: the usual)")
        add("--widgets", type=int, default=widgets, help="rows in the table")
        add("--placement", choices=("split", "free"), default="split", help="see the README")
        add("--python", default=".venv/bin/python", help="the service's own, in its checkout")
        add("--output", type=Path, default=RESULTS, help="folder of the results")
        if name in COMPARISONS:
            add("--only", nargs="+", help="names of servers, such as fastapi megapolis")
            add("--checkout", type=Path, help="of the service (default: this one)")
            add("--also", type=Path, help="another checkout, as the server named before")
        if name not in {"distance", "overload"}:
            add("--connections", type=int, default=32)
        if name == "distance":
            add("--round-trips", type=float, nargs="+", default=distance.ROUND_TRIPS, help="in ms")
            add("--clients", type=int, nargs="+", default=distance.CLIENTS)
        if name == "overload":
            add("--round-trip", type=float, help="milliseconds between the server and PostgreSQL")
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
    conditions, checkout = conditions_of(options), options.checkout.absolute()
    if conditions.load_before > BUSY:
        say(f"The machine is busy (load average {conditions.load_before:.1f}): figures will drift.")
    say(f"loading {options.widgets:,} widgets")
    with database.running(conditions.placement.database) as socket:
        loaded = database.create(
            socket,
            "benchmark",
            widgets=options.widgets,
            migrate=[str(checkout / options.python), str(checkout / "manage.py"), "migrate"],
            environment=catalogue.production_environment(),
        )
        yield Bench(loaded, conditions, tokens.all_tokens(loaded), say)


def run_compare(options: argparse.Namespace) -> None:
    """Measure the service beside its peers, and write table, raw data and chart."""
    servers = chosen(options, catalogue.peers())
    with prepared(options) as bench:
        results = compare(servers, bench)
    report.write(options.output, "comparison", results, bench.conditions)
    print((options.output / "comparison.md").read_text())


def run_distance(options: argparse.Namespace) -> None:
    """Measure the service and two peers at each round trip."""
    servers = chosen(options, [catalogue.fastapi(), *node()])
    with prepared(options) as bench:
        found = distance.distance(servers, bench, options.round_trips, options.clients)
        write_each(options, "distance", found, bench.conditions)


def run_overload(options: argparse.Namespace) -> None:
    """Measure the service while more is asked than it can serve."""
    peers = [catalogue.fastapi(), *node()] if options.only else []
    servers = chosen(options, peers)
    with prepared(options) as bench:
        found = overload.overload(servers, bench, options.round_trip)
        name = f"overload-{options.round_trip:g}-ms" if options.round_trip else "overload"
        write_each(options, name, found, bench.conditions)


def chosen(options: argparse.Namespace, peers: list[Server]) -> list[Server]:
    """Return the peers, the service before and the service, or those that `--only` names."""
    servers = [*peers]
    if options.also:
        servers.append(catalogue.before(options.python, options.also.absolute()))
    servers.append(catalogue.megapolis(options.python, options.checkout.absolute()))
    return [server for server in servers if not options.only or server.name in options.only]


def node() -> list[Server]:
    """Return the peer of Node.js, or nothing and say so."""
    server = catalogue.node()
    if server is None:
        say("Node.js and npm are not installed: that peer is left out.")
    return [server] if server else []


def run_growth(options: argparse.Namespace) -> None:
    """Measure how the service's cost grows."""
    with prepared(options) as bench:
        found = growth.growth(options.python, bench, options.requests)
        write_each(options, "growth", found, bench.conditions)


def run_access_log(options: argparse.Namespace) -> None:
    """Measure what the access log costs."""
    with prepared(options) as bench:
        table = access_log.access_log(options.python, bench)
        write_each(options, "access-log", [table], bench.conditions)


def run_guards(options: argparse.Namespace) -> None:
    """Measure what each guard costs."""
    with prepared(options) as bench:
        table = guards.guards(options.python, bench)
        write_each(options, "guards", [table], bench.conditions)


def write_each(
    options: argparse.Namespace, name: str, found: Iterable[str], conditions: Conditions
) -> None:
    """Show each section, and write those so far with what the figures depend on."""
    options.output.mkdir(parents=True, exist_ok=True)
    facts = report.listed(report.environment(conditions))
    sections: list[str] = []
    for section in found:
        print(section, end="\n\n", flush=True)
        sections.append(section)
        (options.output / f"{name}.md").write_text("\n\n".join([*sections, facts]) + "\n")


def say(message: str) -> None:
    """Tell the person who waits, apart from the results."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
