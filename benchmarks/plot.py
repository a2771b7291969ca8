# SPDX-License-Identifier: Apache-2.0
"""Draws, per precision, how fast each engine is relative to the best peer, as an SVG that needs nothing else."""

import html
import math

import engines
import report

_COLORS = {
    "tfengine": "#c2410c",
    "tfengine_tf": "#f5a97f",
    "openvino": "#2563eb",
    "onnxruntime": "#0d9488",
    "litert": "#7c3aed",
    "xla": "#65758b",
    "tensorflow": "#a8a29e",
}
_LABELS, _PANEL, _GAP, _ROW, _TOP = 120, 250, 28, 19, 74
_LOW, _HIGH = 1 / 8, 4  # speeds outside are drawn at the edge


def _x(panel, speed):
    share = math.log(min(max(speed, _LOW), _HIGH) / _LOW) / math.log(_HIGH / _LOW)
    return _LABELS + panel * (_PANEL + _GAP) + share * _PANEL


class _Drawing:
    def __init__(self):
        self.parts = []

    def text(self, x, y, content, anchor="start", size=11, color="#333"):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}">'
            f"{html.escape(content)}</text>"
        )

    def line(self, x1, y1, x2, y2, color="#e5e5e5", width=1):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}"/>'
        )

    def dot(self, x, y, color, radius, title):
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}" fill-opacity="0.9">'
            f"<title>{html.escape(title)}</title></circle>"
        )


def svg(results):
    cells = [cell for cell in results["cells"] if cell["best_peer"]]
    precisions = list(dict.fromkeys(cell["precision"] for cell in cells))
    rows = list(dict.fromkeys((cell["model"], cell["batch"]) for cell in cells))
    bottom = _TOP + len(rows) * _ROW
    width = _LABELS + max(1, len(precisions)) * (_PANEL + _GAP)
    drawing = _Drawing()
    drawing.text(
        8, 18, "Speed relative to the best peer (1 = as fast as the best peer; further right is faster)", size=13
    )
    used = [key for key in engines.ENGINES if any(key in cell["engines"] for cell in cells)]
    x = 12
    for key in used:
        drawing.dot(x, 36, _COLORS[key], 4.5, engines.ENGINES[key].title)
        drawing.text(x + 8, 40, engines.ENGINES[key].title)
        x += 24 + 6.3 * len(engines.ENGINES[key].title)
    for panel, precision in enumerate(precisions):
        drawing.text(_x(panel, math.sqrt(_LOW * _HIGH)), 58, precision, "middle", 12)
        for speed, label in ((1 / 8, "⅛"), (1 / 4, "¼"), (1 / 2, "½"), (1, "1"), (2, "2"), (4, "4")):
            best = speed == 1
            drawing.line(_x(panel, speed), _TOP - 6, _x(panel, speed), bottom, "#555" if best else "#e0e0e0")
            drawing.text(_x(panel, speed), bottom + 14, label, "middle", 10)
    for row, (model, batch) in enumerate(rows):
        y = _TOP + row * _ROW + _ROW / 2
        drawing.text(_LABELS - 10, y + 4, f"{model} ×{batch}", "end")
        for cell in cells:
            if (cell["model"], cell["batch"]) == (model, batch):
                _draw_cell(drawing, cell, precisions.index(cell["precision"]), y)
    height = bottom + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif"><rect width="{width}" height="{height}" fill="white"/>\n'
        + "\n".join(drawing.parts)
        + "\n</svg>\n"
    )


def _draw_cell(drawing, cell, panel, y):
    best = cell["engines"][cell["best_peer"]]["min_ms"]
    drawing.line(_x(panel, _LOW), y, _x(panel, _HIGH), y, "#f0f0f0")
    for key in reversed(engines.ENGINES):  # tfengine last, on top
        result = cell["engines"].get(key, {})
        if "min_ms" in result:
            title = f"{report.name(cell)}, {engines.ENGINES[key].title}: {report.milliseconds(result['min_ms'])} ms"
            drawing.dot(_x(panel, best / result["min_ms"]), y, _COLORS[key], 5 if key == "tfengine" else 3.8, title)
