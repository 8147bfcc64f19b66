"""One SVG of the ratios: `python picture.py results.json results.svg`. Needs matplotlib."""

import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter
from report import DAEMON, OURS, daemon_ratios, order, ratios, times

PANELS = (
    ("load", "wall", "initial load: time"),
    ("change", "wall", "1,000 new, 1,000 changed: time"),
    ("nothing", "wall", "nothing new: time"),
    ("poll", "wall", "poll of unchanged accounts: time"),
    ("load", "memory", "initial load: peak memory"),
    ("load", "cpu", "initial load: CPU, client and PostgreSQL"),
    ("load", "wal", "initial load: WAL"),
    ("nothing", "requests", "nothing new: requests"),
)
US, EXACT, INEXACT = "#1b6e53", "#7a8b99", "#c8553d"
COLOURS = {"Counterfoil": US, "keeps every digit": EXACT, "loses digits, or rows": INEXACT}


def colour(results, name):
    if name == OURS:
        return US
    steps = (step for one in results["rounds"] for step in one.get(name, {}).values() if isinstance(step, dict))
    held = [step["held"] for step in steps if "held" in step]
    return EXACT if all(one["digits_kept"] and one["sum_exact"] and one["complete"] for one in held) else INEXACT


def bars(results, step, field):
    """Title, ratios and colour of each bar, from the top."""
    for name in order(results):
        if values := ratios(results, name, step, field):
            yield results["contenders"][name]["title"], values, colour(results, name)
        if name == OURS and field == "wall" and (values := daemon_ratios(results, step)):
            yield DAEMON, values, US


def panel(axes, results, step, field, title):
    """Bars begin at Counterfoil's figure: to the right is more, to the left is less, each on a scale of ratios."""
    titles, found, colours = zip(*bars(results, step, field), strict=True)
    middle = [statistics.median(values) for values in found]
    axes.barh(range(len(found)), [value - 1 for value in middle], left=1, color=colours, height=0.65)
    for place, (value, values) in enumerate(zip(middle, found, strict=True)):
        axes.plot([min(values), max(values)], [place, place], color="black", linewidth=1)
        axes.plot([value], [place], "o", color=colours[place], markersize=4)
        axes.annotate(
            times(value), (max(1, *values), place), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xscale("log")
    axes.set_xlim(
        min(0.5, *(min(values) for values in found)) / 1.5, max(2.0, *(max(values) for values in found)) * 2.5
    )
    axes.axvline(1, color=US, linewidth=1)
    axes.set_yticks(range(len(found)), titles, fontsize=8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: times(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_yaxis()
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(axis="x", labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main():
    results = json.loads(Path(sys.argv[1]).read_text())
    mpl.rcParams["svg.hashsalt"] = "counterfoil"
    figure = Figure(figsize=(14, 12), layout="constrained")
    FigureCanvasSVG(figure)
    for axes, (step, field, title) in zip(figure.subplots(4, 2).T.flat, PANELS, strict=True):
        if any(bars(results, step, field)):
            panel(axes, results, step, field, title)
    about = results["about"]
    figure.suptitle(
        f"Times Counterfoil's figure (left is less): {about['deals']:,} deals, {about['accounts']:,} accounts,"
        f" {about['rounds']} rounds, {about['cores']} cores, PostgreSQL {about['postgresql']}",
        fontsize=10,
    )
    figure.legend(
        handles=[Patch(color=shade, label=name) for name, shade in COLOURS.items()], loc="outside lower center", ncols=3
    )
    figure.savefig(sys.argv[2])


if __name__ == "__main__":
    main()
