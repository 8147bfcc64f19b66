"""One SVG of the ratios: `python picture.py results.json results.svg`. Needs matplotlib."""

import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from report import OURS, order, ratios, times

PANELS = (
    ("load", "wall", "initial load: time"),
    ("change", "wall", "1,000 new, 1,000 changed: time"),
    ("nothing", "wall", "nothing new: time"),
    ("poll", "wall", "poll of unchanged accounts: time"),
    ("load", "memory", "initial load: peak memory"),
    ("load", "client_cpu", "initial load: CPU of the client"),
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


def panel(axes, results, step, field, title):
    found = {name: ratios(results, name, step, field) for name in order(results)}
    shown = {name: values for name, values in found.items() if values}
    middle = [statistics.median(values) for values in shown.values()]
    errors = [
        [max(0.0, value - min(values)) for value, values in zip(middle, shown.values(), strict=True)],
        [max(0.0, max(values) - value) for value, values in zip(middle, shown.values(), strict=True)],
    ]
    places = range(len(shown))
    lowest = min([0.2, *(value / 2 for value in middle if value)])
    axes.barh(
        places,
        [max(0.0, value - lowest) for value in middle],
        left=lowest,
        xerr=errors,
        color=[colour(results, name) for name in shown],
        height=0.65,
        error_kw={"elinewidth": 1},
    )
    for place, value, above in zip(places, middle, errors[1], strict=True):
        axes.text((value + above) * 1.12, place, times(value), va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(lowest, max([2.0, *middle]) * 4)
    axes.axvline(1, color=US, linewidth=0.8)
    axes.set_yticks(list(places), [results["contenders"][name]["title"] for name in shown], fontsize=8)
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
        panel(axes, results, step, field, title)
    about = results["about"]
    figure.suptitle(
        f"Times Counterfoil's figure (shorter is better): {about['deals']:,} deals, {about['accounts']:,} accounts,"
        f" median of {about['rounds']} rounds, {about['cores']} cores, PostgreSQL {about['postgresql']}",
        fontsize=10,
    )
    figure.legend(
        handles=[Patch(color=shade, label=name) for name, shade in COLOURS.items()], loc="outside lower center", ncols=3
    )
    figure.savefig(sys.argv[2])


if __name__ == "__main__":
    main()
