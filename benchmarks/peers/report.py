"""The figures as Markdown: one table of ratios to Counterfoil, then what they are made of."""

import statistics
from collections.abc import Callable
from typing import Any

from lineup import LATENCY, LINEUP, WORDS

Results = dict[str, Any]
OURS = "counterfoil"
DAEMON = "Counterfoil in its daemon"
TIMES = "\N{MULTIPLICATION SIGN}"
TO = "\N{EN DASH}"
NOTHING = TO


def values(results: Results, name: str, step: str, field: str) -> list[float]:
    """One figure of one contender, round by round; rounds that failed are left out."""
    told = (one.get(name, {}).get(step) for one in results["rounds"])
    return [step[field] for step in told if step]


def ratios(results: Results, name: str, step: str, field: str) -> list[float]:
    """The same divided by Counterfoil's of the same round."""
    pairs = ((one.get(name, {}).get(step), one.get(OURS, {}).get(step)) for one in results["rounds"])
    return [theirs[field] / ours[field] for theirs, ours in pairs if theirs and ours and ours[field]]


def spread(found: list[float], shown: Callable[[float], str]) -> str:
    """The median, and the least and the most where there are several."""
    if not found:
        return NOTHING
    middle = shown(statistics.median(found))
    return middle if len(found) == 1 else f"{middle} [{shown(min(found))}{TO}{shown(max(found))}]"


def times(value: float) -> str:
    """A ratio with about two digits that mean something."""
    shown = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"
    return f"{shown} {TIMES}"


def megabytes(value: float) -> str:
    return f"{value / 1e6:.1f}" if value >= 1e5 else f"{value / 1e6:.3f}"


def order(results: Results) -> list[str]:
    """The contenders in the order of the line-up."""
    return [one.name for one in LINEUP if one.name in results["contenders"]]


def table(head: list[str], rows: list[list[str]]) -> str:
    marks = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, marks, *rows)) + "\n"


def answer(results: Results, name: str, fact: str) -> str:
    """Whether a fact held after each step that read deals, in every round."""
    told = [
        step["held"][fact]
        for one in results["rounds"]
        for step in one.get(name, {}).values()
        if isinstance(step, dict) and "held" in step
    ]
    return NOTHING if not told else "yes" if all(told) else "**no**"


def summary(results: Results) -> str:
    """Everything divided by Counterfoil's, and whether it is true."""
    head = ["", *(WORDS[step] for step in ("load", "change", "nothing", "poll"))]
    head += [
        "CPU of the load, client and PostgreSQL",
        "peak memory of the load",
        "WAL of the load",
        "requests: load, change, nothing, poll",
    ]
    head += ["complete", "sum exact", "digits kept"]
    rows = []
    for name in order(results):
        wall = [spread(ratios(results, name, step, "wall"), times) for step in ("load", "change", "nothing", "poll")]
        asked = [
            spread([statistics.median(found)] if found else [], lambda value: f"{value:.0f}")
            for found in (values(results, name, step, "requests") for step in ("load", "change", "nothing", "poll"))
        ]
        frugal = [spread(ratios(results, name, "load", field), times) for field in ("cpu", "memory", "wal")]
        truth = [answer(results, name, fact) for fact in ("complete", "sum_exact", "digits_kept")]
        rows.append([results["contenders"][name]["title"], *wall, *frugal, ", ".join(asked), *truth])
        if name == OURS:
            rows.append(in_the_daemon(results, len(head)))
    return table(head, rows)


def in_the_daemon(results: Results, width: int) -> list[str]:
    """What the same steps take in a process that runs already."""
    cells = [spread(daemon_ratios(results, step), times) for step in ("change", "nothing", "poll")]
    return [DAEMON, NOTHING, *cells, *[NOTHING] * (width - 5)]


def daemon_ratios(results: Results, step: str) -> list[float]:
    """How long a step takes in the daemon, divided by how long it takes in a process of its own."""
    told = [one[OURS] for one in results["rounds"] if "daemon" in one.get(OURS, {})]
    return [one["daemon"][step]["milliseconds"] / 1000 / one[step]["wall"] for one in told if step in one["daemon"]]


def details(results: Results, step: str) -> str:
    """What one step cost everybody."""
    per_row = step == "load"
    head = ["", "seconds", "CPU s, client", "CPU s, PostgreSQL", "CPU s, platform", "peak MiB", "requests", "WAL MB"]
    head += ["others' share of the machine"]
    head += ["rows/s", "CPU ms per 1,000 rows"] if per_row else []
    rows = []
    for name in order(results):
        wall = values(results, name, step, "wall")
        if not wall:
            continue
        client, server, platform = (
            values(results, name, step, field) for field in ("client_cpu", "postgres_cpu", "platform_cpu")
        )
        cells = [spread(found, lambda value: f"{value:.2f}") for found in (wall, client, server, platform)]
        cells.append(spread(values(results, name, step, "memory"), lambda value: f"{value:.0f}"))
        cells.append(spread(values(results, name, step, "requests"), lambda value: f"{value:.0f}"))
        cells.append(spread(values(results, name, step, "wal"), megabytes))
        cells.append(spread(values(results, name, step, "others"), lambda value: f"{value:.0%}"))
        if per_row:
            deals = results["about"]["deals"]
            cells.append(spread([deals / value for value in wall], lambda value: f"{value:,.0f}"))
            cpu = [(one + other) / deals * 1e6 for one, other in zip(client, server, strict=True)]
            cells.append(spread(cpu, lambda value: f"{value:.1f}"))
        rows.append([results["contenders"][name]["title"], *cells])
    return table(head, rows)


def running(results: Results) -> str:
    """Counterfoil in a running daemon, which a tool that is started for each run cannot be compared with."""
    told = [one[OURS]["daemon"] for one in results["rounds"] if "daemon" in one.get(OURS, {})]
    if not told:
        return ""
    fields = {
        "milliseconds": "ms",
        "slowest_milliseconds": "slowest ms",
        "client_cpu_milliseconds": "CPU ms, daemon",
        "postgres_cpu_milliseconds": "CPU ms, PostgreSQL",
        "wal": "WAL bytes",
        "requests": "requests",
        "memory": "MiB held",
    }
    rows = []
    for step in ("change", "change_later", "nothing", "poll", "stirred"):
        found = [[one[step][field] for one in told if field in one[step]] for field in fields]
        rows.append([WORDS[step], *(spread(each, lambda value: f"{value:g}") for each in found)])
    text = "CPU, WAL: a mean over 20 polls, with all that the daemon does between them.\n\n"
    return f"\n## Counterfoil in a running daemon\n\n{text}{table(['', *fields.values()], rows)}"


def latency(results: Results) -> str:
    """What it costs Counterfoil that a platform takes its time."""
    pairs = [
        (one[OURS]["latency"]["wall"], one[OURS]["load"]["wall"])
        for one in results["rounds"]
        if "latency" in one.get(OURS, {})
    ]
    if not pairs:
        return ""
    shown = spread([slow / quick for slow, quick in pairs], lambda value: f"{value:.2f} {TIMES}")
    return (
        f"\n## From afar\n\nThe initial load with {LATENCY * 1000:.0f} ms before each answer, against none: {shown}.\n"
    )


def conditions(results: Results) -> str:
    about = results["about"]
    probe = ", ".join(f"{name} {token}" for name, token in about["probe"].items())
    lines = [
        f"{about['when']}; rounds: {about['rounds']}; {about['deals']:,} deals of {about['bytes_a_row']} bytes,"
        f" {about['accounts']:,} accounts; {about['cores']} cores, {about['memory_gib']} GiB, {about['system']},"
        f" Python {about['python']}, PostgreSQL {about['postgresql']}: "
        + ", ".join(f"{name} {value}" for name, value in about["settings"].items()),
        f"digits kept: whether one deal's {probe} came out as it was sent",
    ]
    for name in order(results):
        one = results["contenders"][name]
        versions = ", ".join(f"{package} {version}" for package, version in one["versions"].items())
        lines.append(f"{one['title']}: {one['note']}" + (f" ({versions})" if versions else ""))
    lines += [f"{results['contenders'][name]['title']}: left out, {why}" for name, why in results["missing"].items()]
    for number, one in enumerate(results["rounds"], 1):
        lines += [
            f"{results['contenders'][name]['title']} failed in round {number}: {told['failed']}"
            for name, told in one.items()
            if "failed" in told
        ]
    return "\n".join(f"- {line}" for line in lines) + "\n"


def markdown(results: Results) -> str:
    """The whole report."""
    said = "A number with a cross is times Counterfoil's figure of the same round: the median, and [the least to the most].\n"
    parts = ["# Counterfoil and its peers\n", said]
    parts += [summary(results), "## Conditions\n", conditions(results)]
    for step, words in WORDS.items():
        if not any(values(results, name, step, "wall") for name in order(results)):
            continue
        parts += [f"## {words[0].upper()}{words[1:]}\n", details(results, step)]
    return "\n".join(parts) + running(results) + latency(results)
