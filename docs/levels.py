"""Draws levels.svg: test accuracy against density for IMP, WR and LRR, from finished runs.

    host run experiments/imp.toml --seeds 0..6
    host run experiments/wr.toml --seeds 0..6
    host run experiments/lrr.toml --seeds 0..6
    python -m pip install matplotlib==3.11.2
    python docs/levels.py runs docs/levels.svg

Lines are means over the seeds, bands 95 % confidence intervals (Student's t). The paired
differences, which are printed, take each seed's difference first: the methods share initial
weights, data order and level 0.
"""

import csv
import re
import sys
from pathlib import Path
from statistics import mean, stdev

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

METHODS = {
    "lrr": ("LRR (learning-rate rewinding)", "#0072b2", "o"),
    "wr": ("WR (weights of epoch 4)", "#d55e00", "s"),
    "imp": ("IMP (initial weights)", "#4d4d4d", "^"),
}
# 97.5 % quantiles of Student's t, by degrees of freedom.
T = [None, 12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622]


def read(runs, name):
    """Accuracy in % by level and seed, and the density of each level."""
    found = [p for p in runs.iterdir() if re.fullmatch(re.escape(name) + "-[0-9a-f]{8}", p.name)]
    if len(found) != 1:
        sys.exit(f"expected one run of {name} in {runs}, found {len(found)}")
    accuracy, density = {}, {}
    with open(found[0] / "summary.csv", newline="") as file:
        for row in csv.DictReader(file):
            level = int(row["level"])
            accuracy.setdefault(level, {})[int(row["seed"])] = 100 * float(row["test_accuracy"])
            density[level] = float(row["density"])
    return accuracy, density


def interval(values):
    """Mean and half-width of its 95 % confidence interval."""
    return mean(values), T[len(values) - 1] * stdev(values) / len(values) ** 0.5


def main():
    runs, target = Path(sys.argv[1]), Path(sys.argv[2])
    results = {name: read(runs, name) for name in METHODS}

    # Text stays text, and nothing in the file depends on when it was drawn.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "levels", "font.size": 10})
    plt.rcParams["font.family"] = ["DejaVu Sans", "sans-serif"]
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, (label, colour, marker) in METHODS.items():
        accuracy, density = results[name]
        levels = sorted(accuracy)
        x = [density[level] for level in levels]
        centre, half = zip(*(interval(list(accuracy[level].values())) for level in levels))
        low = [c - h for c, h in zip(centre, half)]
        high = [c + h for c, h in zip(centre, half)]
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, centre, color=colour, marker=marker, markersize=4, label=label)
    seeds = len(results["lrr"][0][0])
    ticks = [1, 0.5, 0.2, 0.1, 0.05]
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.minorticks_off()
    axes.set_xlabel("density (surviving / prunable weights)")
    axes.set_ylabel("test accuracy (%)")
    axes.set_title(f"MNIST-1D, MLP 40-128-128-10 with batch norm, {seeds} seeds", fontsize=10)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(target, metadata={"Date": None}, facecolor="white")

    print("level density   " + "".join(f"{name:>16}" for name in METHODS) + "    LRR - IMP")
    for level, density in sorted(results["lrr"][1].items()):
        cells = [interval(list(results[name][0][level].values())) for name in METHODS]
        lrr, imp = results["lrr"][0][level], results["imp"][0][level]
        cells.append(interval([lrr[seed] - imp[seed] for seed in sorted(lrr)]))
        text = "".join(f"{centre:8.2f} ± {half:5.2f}" for centre, half in cells)
        print(f"{level:5} {density:.4f}   {text}")


if __name__ == "__main__":
    main()
