"""Draws docs/families/<family>.svg: ``python docs/curves.py`` computes every family as a contract does.

The curves are those of ``lrwatch.curve``; each legend is the family's own YAML, so that a picture can be typed in.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lrwatch.contract import from_document
from lrwatch.curve import Curve, Metric

HERE = Path(__file__).parent
HORIZON, SHOWN = 1000, 1200
"""Updates that the run is planned to make, and those that are drawn: what comes past the length belongs to a family."""

FAMILIES: dict[str, list[str]] = {
    "constant": ["{}"],
    "cosine": [
        "{to: 10%, until: horizon}",
        "{to: 10%, until: horizon, after: mirror}",
        "{to: 10%, until: horizon, after: restart}",
    ],
    "cosine_restarts": ["{period: 300, to: 5%}", "{period: 150, multiply: 2, to: 5%}"],
    "exp_range": ["{from: 10%, to: 100%, up: 150, gamma: 0.998}"],
    "exponential": ["{gamma: 0.75, every: 100}", "{gamma: 0.75, every: 100, stairs: 100}"],
    "inverse_power": ["{timescale: 200, power: 1}", "{timescale: 200, power: 0.5}"],
    "inverse_sqrt": ["{timescale: 100}"],
    "k_decay": [
        "{shape: cosine, k: 0.5, until: horizon}",
        "{shape: polynomial, k: 0.5, until: horizon}",
        "{shape: cosine, k: 2, until: horizon}",
    ],
    "linear": ["{to: 10%, until: horizon}", "{from: 0, for: 200}"],
    "logarithmic": ["{from: 1%, for: 1000}"],
    "multi_step": ["{milestones: [300, 600, 800], gamma: 0.4}"],
    "one_cycle": ["{until: horizon}", "{until: horizon, anneal: linear}", "{until: horizon, three_phase: true}"],
    "plateau": ["{metric: loss, factor: 0.5, patience: 1}"],
    "polynomial": ["{power: 2, until: horizon}", "{power: 0.5, until: horizon}"],
    "product": ["{of: [{cosine: {until: horizon}}, {linear: {from: 10%, for: 300}}]}"],
    "step": ["{every: 250, gamma: 0.5}"],
    "table": [
        "{values: [10%, 100%, 60%, 0], at: [0, 200, 800, 1000]}",
        "{values: [10%, 100%, 60%, 0], at: [0, 200, 800, 1000], between: linear}",
    ],
    "tanh": ["{to: 5%, until: horizon}"],
    "triangular": ["{from: 10%, to: 100%, up: 200}", "{from: 10%, to: 100%, up: 100, down: 300}"],
    "triangular2": ["{from: 10%, to: 100%, up: 200}"],
    "warmup_stable_decay": [
        "{warmup: 100, decay: 300, shape: sqrt, until: horizon}",
        "{warmup: 100, decay: 300, shape: linear, until: horizon}",
    ],
}  # fmt: skip
LOSSES = [3, 2, 1.6, 1.6, 1.7, *[1.5] * 7]
"""What a plateau sees: every hundredth update a validation."""

WIDTH, LEFT, RIGHT, LINE, PLOT, BELOW = 640, 14, 14, 20, 150, 24
STYLE = """
text{font:12px system-ui,sans-serif;fill:#57606a}
.yaml{font-family:ui-monospace,SFMono-Regular,Menlo,monospace}
.axis{stroke:#d0d7de}
.end{stroke:#8c959f;stroke-dasharray:2 4}
.a{stroke:#1d5fbf;stroke-width:2.2}
.b{stroke:#b45309;stroke-width:2;stroke-dasharray:7 4}
.c{stroke:#8250df;stroke-width:2;stroke-dasharray:2 3}
@media(prefers-color-scheme:dark){text{fill:#9aa4ae}.axis{stroke:#3d444d}.end{stroke:#6e7681}
.a{stroke:#6cb0ff}.b{stroke:#f0a54a}.c{stroke:#c9a4ff}}
"""


def schedule(family: str, shown: str) -> Any:
    """The family with the parameters of one legend."""
    written = yaml.safe_load(shown)
    return written if family in written else {family: written}


def values(family: str, shown: str) -> Any:
    """Its curve on a base of 1, one value per update."""
    head = {"lrwatch": 1, "experiment": "drawn", "clock": {"horizon": HORIZON}}
    curve = Curve(from_document({**head, "lr": {"base": 1, "schedule": schedule(family, shown)}}))
    metrics = [Metric(100.0 * i, "loss", float(loss)) for i, loss in enumerate(LOSSES)]
    return curve.next(np.arange(SHOWN, dtype=float), metrics if family == "plateau" else ())


def drawn(family: str) -> str:
    """A family and its variants as SVG, for light and dark pages."""
    curves = [(c, text, values(family, text)) for c, text in zip("abc", FAMILIES[family], strict=False)]
    top = max(float(v.max()) for _, _, v in curves)
    low = min(0.0, *(float(v.min()) for _, _, v in curves))
    above = LINE * len(curves) + 12
    floor = above + PLOT

    def x(t: float) -> float:
        return LEFT + t / SHOWN * (WIDTH - LEFT - RIGHT)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {floor + BELOW}" role="img" '
        f'aria-label="{family}">',
        f"<title>{family}: learning rate over the updates</title><style>{STYLE}</style>",
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>',
        f'<line class="end" x1="{x(HORIZON):.1f}" x2="{x(HORIZON):.1f}" y1="{above - 4}" y2="{floor}"/>',
    ]
    for row, (name, text, value) in enumerate(curves):
        y = 14 + LINE * row
        legend = text if text.startswith(f"{{{family}:") else f"{family}: {text}"
        parts += [
            f'<line class="{name}" x1="{LEFT}" x2="{LEFT + 26}" y1="{y}" y2="{y}"/>'
            f'<text class="yaml" x="{LEFT + 34}" y="{y + 4}">{escape(legend)}</text>',
            f'<polyline class="{name}" fill="none" stroke-linejoin="round" points="'
            + " ".join(f"{x(t):.1f},{floor - (value[t] - low) / (top - low) * PLOT:.1f}" for t in _kept(value))
            + '"/>',
        ]
    parts += [
        f'<text x="{LEFT}" y="{floor + 17}">update 0</text>',
        f'<text x="{x(HORIZON):.1f}" y="{floor + 17}" text-anchor="middle">horizon</text>',
        "</svg>\n",
    ]
    return "\n".join(parts)


def _kept(value: Any) -> list[int]:
    """Every tenth point, and both sides of every bend that is sharper than the curve's own."""
    bend = np.abs(np.diff(value, 2))
    sharp = np.flatnonzero(bend > 0.004 * (value.max() or 1.0))
    return sorted({*range(0, SHOWN, 10), SHOWN - 1, *sharp.tolist(), *(sharp + 1).tolist(), *(sharp + 2).tolist()})


if __name__ == "__main__":
    for name in FAMILIES:
        (HERE / "families" / f"{name}.svg").write_text(drawn(name), encoding="utf-8")
