# SPDX-License-Identifier: Apache-2.0
"""Turns the measured cells into a summary, a Markdown page and what the plot shows."""

import math

import engines

BELOW = 0.95
PEERS = [key for key, engine in engines.ENGINES.items() if engine.peer]


def judge(cell):
    """Adds to a cell its best peer, the ratio of times (above 1: tfengine is faster), and the share of the peak."""
    for result in cell["engines"].values():
        if "failed" in result:  # half-way
            result.pop("min_ms", None)
            result.pop("median_ms", None)
    timed = {key: result for key, result in cell["engines"].items() if "min_ms" in result}
    peers = [key for key in PEERS if key in timed]
    cell["best_peer"] = min(peers, key=lambda key: timed[key]["min_ms"], default=None)
    cell["ratio"] = cell["ratio_median"] = cell["ratio_in_tf"] = None
    if "tfengine" in timed and peers:
        cell["ratio"] = timed[cell["best_peer"]]["min_ms"] / timed["tfengine"]["min_ms"]
        cell["ratio_median"] = min(timed[key]["median_ms"] for key in peers) / timed["tfengine"]["median_ms"]
    in_tf = [timed[key]["min_ms"] for key in ("tensorflow", "xla") if key in timed]
    if "tfengine_tf" in timed and in_tf:
        cell["ratio_in_tf"] = min(in_tf) / timed["tfengine_tf"]["min_ms"]


def add_shares(cell, peak):
    rate = peak.get(cell["precision"])
    for result in cell["engines"].values():
        if "min_ms" in result and rate and cell["multiply_adds"]:
            result["share_of_peak"] = 2e-6 * cell["multiply_adds"] * cell["batch"] / result["min_ms"] / rate


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def summarize(cells):
    summary = {}
    for precision in [*dict.fromkeys(cell["precision"] for cell in cells), "all"]:
        chosen = [cell for cell in cells if precision in ("all", cell["precision"])]
        rated = [cell for cell in chosen if cell["ratio"]]
        summary[precision] = {
            "cells": len(rated),
            "geometric_mean": geometric_mean([cell["ratio"] for cell in rated]),
            "geometric_mean_of_medians": geometric_mean([cell["ratio_median"] for cell in rated]),
            "geometric_mean_in_tf": geometric_mean([cell["ratio_in_tf"] for cell in chosen if cell["ratio_in_tf"]]),
            "below": [name(cell) for cell in sorted(rated, key=lambda cell: cell["ratio"]) if cell["ratio"] < BELOW],
        }
    return summary


def name(cell):
    return f"{cell['model']} b{cell['batch']} {cell['precision']}"


def milliseconds(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def cell_text(result):
    return milliseconds(result["min_ms"]) if result and "min_ms" in result else "–"


def factor(value):
    return f"{value:.2f}" if value else "–"


def share(result):
    return f"{100 * result['share_of_peak']:.0f} %" if result and "share_of_peak" in result else "–"


def markdown_table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def times_table(cells):
    keys = [key for key in engines.ENGINES if any(key in cell["engines"] for cell in cells)]
    header = ["model", "batch", *(engines.ENGINES[key].title for key in keys)]
    header += ["best peer", "ratio", "ratio of medians", "share of peak"]
    rows = []
    for cell in cells:
        best = engines.ENGINES[cell["best_peer"]].title if cell["best_peer"] else "–"
        texts = [cell_text(cell["engines"].get(key)) for key in keys]
        ratio = factor(cell["ratio"])
        if cell["ratio"] and cell["ratio"] < BELOW:
            ratio = f"**{ratio}**"
        rows.append(
            [
                cell["model"],
                cell["batch"],
                *texts,
                best,
                ratio,
                factor(cell["ratio_median"]),
                share(cell["engines"].get("tfengine")),
            ]
        )
    return markdown_table(header, rows)


def errors_table(cells):
    keys = [key for key in engines.ENGINES if any(key in cell["engines"] for cell in cells)]
    rows = []
    for cell in cells:
        errors = [cell["engines"].get(key, {}).get("error_vs_fp32") for key in keys]
        rows.append([cell["model"], cell["batch"], *("–" if e is None else f"{e:.1e}" for e in errors)])
    return markdown_table(["model", "batch", *(engines.ENGINES[key].title for key in keys)], rows)


def failures(cells):
    """(engine, reason) → the cells it hit, in order."""
    found = {}
    for cell in cells:
        for key, result in cell["engines"].items():
            if "failed" in result:
                found.setdefault((engines.ENGINES[key].title, result["failed"]), []).append(name(cell))
    return found


def machine_lines(results):
    machine = results["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items() if version)
    peak = ", ".join(f"{name} {rate:.0f}" for name, rate in results["peak"].items() if rate)
    settings = results["settings"]
    return [
        f"* {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads; {', '.join(machine['flags'])}",
        f"* Measured peak of the vector units, 10^9 operations per second: {peak or 'not known'}",
        f"* {versions}",
        f"* {results['date']}; {settings['rounds']} rounds, {settings['turn']} s a turn",
    ]


def markdown(results, plot_name):
    cells, summary = results["cells"], results["summary"]
    lines = ["# tfengine and its peers on a CPU", "", *machine_lines(results), ""]
    lines += [
        "Times are minima in milliseconds per call, NumPy arrays in and out. The ratio is the time of the best peer",
        "over tfengine's: above 1 tfengine is faster. The share of the peak is tfengine's; it counts convolutions and matrix products.",
        "A dash is an engine that has no such precision or that failed (reasons below). See [README.md](README.md).",
        "",
    ]
    rows = [
        [
            precision,
            entry["cells"],
            factor(entry["geometric_mean"]),
            factor(entry["geometric_mean_of_medians"]),
            factor(entry["geometric_mean_in_tf"]),
            ", ".join(entry["below"]) or "none",
        ]
        for precision, entry in summary.items()
    ]
    lines += [
        markdown_table(
            ["precision", "cells", "mean ratio", "of medians", "in TF over TF or XLA", f"below {BELOW}"], rows
        ),
        "",
        f"![Speed relative to the best peer]({plot_name})",
    ]
    for precision in dict.fromkeys(cell["precision"] for cell in cells):
        chosen = [cell for cell in cells if cell["precision"] == precision]
        lines += ["", f"## {precision}", "", times_table(chosen)]
        lines += [
            "",
            "Relative error of the outputs, root mean square, against TensorFlow in fp32:",
            "",
            errors_table(chosen),
        ]
    found = failures(cells)
    if found:
        lines += ["", "## What failed", ""]
        for (title, reason), where in found.items():
            lines.append(f"* {title}, {', '.join(where)}: `{reason.replace('`', chr(39))[:300]}`")
    return "\n".join(lines) + "\n"


def text_summary(results):
    lines = []
    for cell in results["cells"]:
        mine = cell["engines"].get("tfengine", {})
        best = cell["best_peer"]
        peer = f"{engines.ENGINES[best].title} {cell_text(cell['engines'][best])} ms" if best else "no peer"
        lines.append(
            f"{name(cell):32} tfengine {cell_text(mine):>7} ms   best peer {peer:28} ratio {factor(cell['ratio'])}"
        )
    lines.append("")
    for precision, entry in results["summary"].items():
        below = f"below {BELOW}: {', '.join(entry['below']) or 'none'}"
        mean, medians = factor(entry["geometric_mean"]), factor(entry["geometric_mean_of_medians"])
        lines.append(f"{precision:5} geometric mean {mean} (of medians {medians}) over {entry['cells']} cells; {below}")
    for (title, reason), where in failures(results["cells"]).items():
        lines.append(f"failed: {title}, {', '.join(where)}: {reason[:200]}")
    return "\n".join(lines)
