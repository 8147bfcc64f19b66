"""Counterfoil beside the tools that one would use instead, on the same platform and the same PostgreSQL: `make bench`.

    .venv/bin/python benchmarks/peers/run.py --rounds 3 --deals 300000 --accounts 20000
    .venv/bin/python benchmarks/peers/run.py --quick --only counterfoil,dlt-tuned

Each round lets every contender do the same work, one after the other, each in a fresh database: read all deals, then 1,000 new and
1,000 changed ones, then nothing new, then a listing of accounts, then the same listing unchanged. What is written is read back and
compared with what the platform sent. A contender that cannot be installed or fails is told about, and the others go on.

Writes `results/results.md`, `results/results.json` and `results/results.svg`.
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import platform as machine
import subprocess
import sys
import tempfile
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import daemon
import environments
import measuring
import psutil
import psycopg
import report
from environments import Environment
from lineup import LATENCY, LINEUP, STEPS, Contender, Place
from measuring import Bench, Cost, FailedError, Platform, Postgres

LONGEST_WAIT = 600.0
QUICK = {"deals": 20_000, "rounds": 1}
RESULTS = Path(__file__).parent / "results"


def held(contender: Contender, url: str, facts: dict[str, Any], state: str) -> dict[str, Any]:
    """What of the deals has arrived, and how exactly."""
    probe, expected = facts["probe"], Decimal(facts["profit"][state])
    digits = [name for name in probe if name != "id"]
    with psycopg.connect(url, autocommit=True) as connection:
        rows, touched, profit = connection.execute(
            f"SELECT count(*), count(*) FILTER (WHERE comment LIKE 'touched %%'), sum(profit)::text FROM {contender.deals} d"
        ).fetchone()
        columns = ", ".join(f"{name}::text" for name in digits)
        found = connection.execute(f"SELECT {columns} FROM {contender.deals} d WHERE id = %s", [probe["id"]]).fetchone()
    complete = rows == facts["deals"][state] and touched == (1_000 if state == "after" else 0)
    told = dict(zip(digits, found or [], strict=False))
    return {
        "rows": rows,
        "complete": complete,
        "profit": profit,
        "sum_exact": exactly(profit) == expected,
        "probe": told,
        "digits_kept": told == {name: probe[name] for name in digits},
    }


def exactly(text: str | None) -> Decimal | None:
    with contextlib.suppress(InvalidOperation):
        return Decimal(text) if text is not None else None
    return None


def stepped(bench: Bench, contender: Contender, environment: Environment, place: Place) -> dict[str, Any]:
    """All steps of one contender in one round; what went wrong ends it and stands in the result."""
    done: dict[str, Any] = {}
    database = place.database.rpartition("/")[2]
    variables = environments.variables(**contender.variables)
    try:
        if contender.script is None:
            begin(place, variables)
        for name, resource, state in STEPS[:1] if contender.only_load else STEPS:
            bench.platform.ask(state)
            bench.postgres.settle(database)
            command = contender.command(environment.python, resource, place, first=name == "load")
            log = place.folder / f"{name}.log"
            cost = bench.cost(command, variables, log, tells=contender.only_load)
            done[name] = cost.plain()
            if resource == "deals":
                done[name]["held"] = held(contender, place.database, bench.platform.facts, state)
            say(f"  {contender.name:<12} {name:<9} {brief(cost)}")
            if name == "load" and contender.script is None:
                bench.postgres.fresh(f"{database}_daemon", database)
        if contender.script is None:
            done["daemon"] = in_the_daemon(bench, place, f"{database}_daemon")
            done["latency"] = from_afar(bench, contender, environment, place)
    except (FailedError, psycopg.Error, OSError) as error:
        done["failed"] = str(error).strip().split("\n")[0]
        done["said"] = {log.stem: log.read_text(errors="replace")[-4_000:] for log in place.folder.glob("*.log")}
        say(f"  {contender.name:<12} FAILED: {done['failed']}")
    return done


def brief(cost: Cost) -> str:
    return (
        f"{cost.wall:7.2f} s  cpu {cost.client_cpu:6.2f} + {cost.postgres_cpu:5.2f}  {cost.memory:5.0f} MiB"
        f"  {cost.requests:4d} requests  {cost.wal / 1e6:7.2f} MB of WAL  others {cost.others:4.0%}"
    )


def wait_for_calm(share: float | None) -> None:
    """Until others use less than so much of the machine; not for ever."""
    give_up = time.monotonic() + LONGEST_WAIT
    while share is not None and psutil.cpu_percent(interval=2) > share and time.monotonic() < give_up:
        pass


def begin(place: Place, variables: dict[str, str]) -> None:
    """Counterfoil's schema, as an operator makes it before the first start."""
    command = [
        sys.executable,
        "-m",
        "counterfoil",
        "migrate",
        "-c",
        str(place.configure(symbols="1h", deals="30s", accounts="60s")),
    ]
    made = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if made.returncode:
        raise FailedError(f"migrate: {(made.stderr or made.stdout).strip()[-300:]}")


def in_the_daemon(bench: Bench, place: Place, database: str) -> dict[str, Any]:
    there = Place(place.platform, bench.postgres.url(database), place.folder)
    try:
        figures = daemon.measured(bench, there, database)
    finally:
        bench.postgres.drop(database)
    for name, step in figures.items():
        say(f"  {'in a daemon':<12} {name:<9} " + ", ".join(f"{what} {value}" for what, value in step.items()))
    return figures


def from_afar(bench: Bench, contender: Contender, environment: Environment, place: Place) -> dict[str, float]:
    """The initial load once more, from a platform that takes its time."""
    database = f"{place.database.rpartition('/')[2]}_afar"
    there = Place(place.platform, bench.postgres.fresh(database), place.folder)
    bench.platform.ask("before")
    begin(there, environments.variables())
    bench.platform.ask(f"latency {LATENCY}")
    try:
        bench.postgres.settle(database)
        command = contender.command(environment.python, "deals", there, first=True)
        cost = bench.cost(command, environments.variables(), place.folder / "latency.log")
    finally:
        bench.platform.ask("latency 0")
        bench.postgres.drop(database)
    say(f"  {contender.name:<12} {'latency':<9} {brief(cost)}")
    return cost.plain()


def rounds(
    bench: Bench, plan: argparse.Namespace, chosen: list[tuple[Contender, Environment]], folder: Path
) -> list[Any]:
    """Everybody in turn, `--rounds` times; the next round begins with the next contender."""
    told = []
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}")
        turned = chosen[number % len(chosen) :] + chosen[: number % len(chosen)]
        results = {}
        for contender, environment in turned:
            database = f"bench_{contender.name.replace('-', '_')}"
            place = Place(
                bench.platform.facts["url"], bench.postgres.fresh(database), folder / f"{contender.name}-{number}"
            )
            place.folder.mkdir()
            wait_for_calm(plan.calm)
            results[contender.name] = stepped(bench, contender, environment, place)
            bench.postgres.drop(database)
        told.append(results)
    return told


def installed(names: list[str]) -> tuple[list[tuple[Contender, Environment]], dict[str, str]]:
    """Those who can take part, and why the others cannot."""
    made = {name: environments.ready(name) for name in {one.environment for one in LINEUP if one.name in names}}
    chosen = [(one, made[one.environment]) for one in LINEUP if one.name in names]
    missing = {one.name: there.trouble for one, there in chosen if there.trouble}
    return [(one, there) for one, there in chosen if not there.trouble], missing


def circumstances(plan: argparse.Namespace, postgres: Postgres, facts: dict[str, Any]) -> dict[str, Any]:
    """What a reader must know to judge the figures."""
    return {
        "when": dt.datetime.now(dt.UTC).isoformat(timespec="minutes"),
        "rounds": plan.rounds,
        "deals": facts["deals"]["before"],
        "accounts": facts["accounts"],
        "bytes_a_row": facts["bytes_a_row"],
        "probe": {name: token for name, token in facts["probe"].items() if name != "id"},
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "system": f"{machine.system()} {machine.release()}",
        "python": machine.python_version(),
        "postgresql": postgres.version.split()[0],
        "settings": {**measuring.SETTINGS, "shared_buffers": plan.shared_buffers},
    }


def measure(plan: argparse.Namespace, folder: Path) -> dict[str, Any]:
    chosen, missing = installed(plan.only)
    settings = {**measuring.SETTINGS, "shared_buffers": plan.shared_buffers}
    say(f"making {plan.deals} deals and {plan.accounts} accounts")
    with measuring.database_server(settings) as postgres, Platform(plan.deals, plan.accounts) as platform:
        told = rounds(Bench(platform, postgres, plan.patience), plan, chosen, folder)
        about = circumstances(plan, postgres, platform.facts)
    for name, reason in missing.items():
        say(f"{name}: {reason}")
    contenders = {
        one.name: {"title": one.title, "note": one.note, "versions": there.versions(one.packages)}
        for one, there in chosen
    }
    missing_titles = {
        one.name: {"title": one.title, "note": one.note, "versions": {}} for one in LINEUP if one.name in missing
    }
    return {"about": about, "contenders": contenders | missing_titles, "missing": missing, "rounds": told}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def planned() -> argparse.Namespace:
    names = [one.name for one in LINEUP]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--deals", type=int, help="at least 3000; 300000 when left out")
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--only", type=lambda text: text.split(","), default=names, help=f"some of {','.join(names)}")
    parser.add_argument("--quick", action="store_true", help="20,000 deals, one round")
    parser.add_argument(
        "--calm", type=float, help="before each contender, wait until others use less per cent of the cores"
    )
    parser.add_argument("--shared-buffers", default=measuring.SETTINGS["shared_buffers"])
    parser.add_argument("--patience", type=float, default=3_600.0, help="seconds that one step may take")
    parser.add_argument("--results", type=Path, default=RESULTS)
    plan = parser.parse_args()
    plan.deals = plan.deals or (QUICK["deals"] if plan.quick else 300_000)
    plan.rounds = plan.rounds or (QUICK["rounds"] if plan.quick else 3)
    if unknown := set(plan.only) - set(names):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; there is {', '.join(names)}")
    if plan.deals < 3_000:
        parser.error("--deals: at least 3000, for 1000 of them are changed")
    return plan


def main() -> None:
    plan = planned()
    with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
        results = measure(plan, Path(folder))
    plan.results.mkdir(parents=True, exist_ok=True)
    figures = plan.results / "results.json"
    figures.write_text(json.dumps(results, indent=1) + "\n")
    table = report.markdown(results)
    (plan.results / "results.md").write_text(table)
    print(table)
    draw(figures, plan.results / "results.svg")


def draw(figures: Path, picture: Path) -> None:
    """The picture needs matplotlib, which lies in an environment of its own."""
    plain = environments.ready("plain")
    command = [str(plain.python), str(Path(__file__).with_name("picture.py")), str(figures), str(picture)]
    if plain.trouble or subprocess.run(command, env=environments.variables(), check=False).returncode:
        say(f"no picture: {plain.trouble or 'it could not be drawn'}")


if __name__ == "__main__":
    main()
