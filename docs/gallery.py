"""Draws docs/causes/<cause>.svg: ``python docs/gallery.py`` runs every bug through the engine and draws what it says.

A picture shows what was promised, what was used, and, as a broad band under it, what the named cause gives. One whose
cause is not named as expected is an error, so the gallery cannot show what lrwatch would not say.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrwatch.contract import from_document
from lrwatch.curve import Curve, Metric
from lrwatch.engine import Session
from lrwatch.trace.model import Chunk, Event

HERE = Path(__file__).parent
T, R, W = 400, 160, 50
Array = Any
Rates = Callable[[Callable[[Array], Array], Array], Array]
"""The promise as a function, positions → what was used there."""
WARM = {"linear": {"from": 0, "for": W}}
COSINE = [WARM, {"cosine": {"to": "10%", "until": "horizon"}}]
STRAIGHT = [WARM, {"linear": {"to": "10%", "until": "horizon"}}]
PLATEAU = {"plateau": {"metric": "loss", "factor": 0.5, "patience": 1, "threshold": 0}}
GROUPS = {"body": {}, "head": {"scale": 3}}


@dataclass(frozen=True)
class Scene:
    """A bug: the promise, what was used instead, in which segments, groups, workers and with which signals."""

    rates: Rates
    schedule: Any = field(default_factory=lambda: COSINE)
    resumed: bool = False
    steps: int = T
    workers: int = 1
    groups: bool = False
    signal: str = "lr"
    old: bool = False
    skips: bool = False


def shaped(schedule: Any, **clock: Any) -> Callable[[Array], Array]:
    """The curve of another schedule on the same base."""
    document = {
        "lrwatch": 1,
        "experiment": "x",
        "clock": {"horizon": T, **clock},
        "lr": {"base": 1, "schedule": schedule},
    }
    return Curve(from_document(document)).at


def skipped(t: Array) -> Array:
    """Updates skipped before t: twelve each at three places."""
    return 12 * np.searchsorted((60, 150, 240), t, side="right")


def swapped(kind: str, **params: Any) -> list[Any]:
    return [WARM, {kind: {"until": "horizon", **params}}]


SCENES: dict[str, Scene] = {
    "rate": Scene(lambda e, t: e(4 * t)),
    "offset": Scene(lambda e, t: e(t + 25)),
    "frozen": Scene(lambda e, t: e(np.minimum(t, 130))),
    "skipped_updates": Scene(lambda e, t: e(t + skipped(t)), skips=True),
    "staircase": Scene(lambda e, t: e(40 * (t // 40))),
    "extra_per_epoch": Scene(lambda e, t: e(t + t // 3)),
    "modulo": Scene(lambda e, t: e(t % 110)),
    "restart": Scene(lambda e, t: np.where(t < R, e(t), e(np.maximum(t - R, 0)))),
    "restart_at_resume": Scene(lambda e, t: e(t - R), resumed=True),
    "offset_at_resume": Scene(lambda e, t: e(t + 60), resumed=True),
    "factor_at_resume": Scene(lambda e, t: 0.5 * e(t), resumed=True),
    "horizon_at_resume": Scene(lambda e, t: shaped(COSINE, horizon=700)(t), resumed=True),
    "frozen_at_resume": Scene(lambda e, t: e(0 * t + R), resumed=True),
    "single_sample_at_resume": Scene(lambda e, t: np.where(t == R, 0.0, e(t)), resumed=True),
    "factor": Scene(lambda e, t: 0.5 * e(t)),
    "quantised": Scene(lambda e, t: bfloat16(e(t)), schedule=[{"cosine": {"to": "90%", "until": "horizon"}}]),
    "affine": Scene(lambda e, t: 0.21 + 0.6 * e(t)),
    "horizon": Scene(lambda e, t: shaped(COSINE, horizon=260)(t)),
    "mirror_past_horizon": Scene(
        lambda e, t: shaped({"cosine": {"to": "10%", "until": 250, "after": "mirror"}})(t),
        {"cosine": {"to": "10%", "until": 250}},
    ),
    "past_horizon": Scene(
        lambda e, t: shaped({"cosine": {"to": "10%", "until": 250, "after": "restart"}})(t),
        {"cosine": {"to": "10%", "until": 250}},
    ),
    "warmup_missing": Scene(lambda e, t: np.where(t < W, 1.0, e(t))),
    "warmup_length": Scene(lambda e, t: shaped([{"linear": {"from": 0, "for": 110}}, COSINE[1]])(t)),
    "warmup_scale": Scene(lambda e, t: shaped([{"linear": {"from": 0, "for": 3 * W}}, COSINE[1]])(t)),
    "warmup_origin": Scene(
        lambda e, t: shaped([{"linear": {"from": 0, "for": 8, "offset": 1}}, COSINE[1]])(t),
        [{"linear": {"from": 0, "for": 8}}, COSINE[1]], steps=24,
    ),
    "warmup_shape": Scene(lambda e, t: np.where(t < W, np.minimum(np.log1p(t) / np.log(W), 1.0), e(t))),
    "floor": Scene(lambda e, t: shaped(swapped("cosine", to=0))(t)),
    "clamp": Scene(
        lambda e, t: np.where(t < W, e(t), np.maximum(shaped(swapped("cosine", to=0))(t), 0.3)),
        swapped("cosine", to="30%"),
    ),
    "reversed": Scene(lambda e, t: e(T - t), {"cosine": {"to": "10%", "until": "horizon"}}),
    "shape_param": Scene(
        lambda e, t: shaped(swapped("polynomial", power=3))(t), swapped("polynomial", power=2)
    ),
    "wrong_family": Scene(lambda e, t: shaped(STRAIGHT)(t)),
    "rank_stale_contract": Scene(lambda e, t: shaped(COSINE, horizon=260)(t), workers=3, old=True),
    "rank_offset": Scene(lambda e, t: e(np.maximum(t - 30, 0)), workers=3),
    "rank_factor": Scene(lambda e, t: 0.5 * e(t), workers=3),
    "rank_progress": Scene(lambda e, t: e(1.15 * t), workers=3, steps=340),
    "rank_local_metric": Scene(lambda e, t: 0.5 ** (1.0 + (t >= 150) + (t >= 300)) * 2.0, PLATEAU, workers=3),
    "group_unscheduled": Scene(lambda e, t: e(0 * t), [{"linear": {"to": "10%", "until": "horizon"}}], groups=True),
    "group_swapped": Scene(lambda e, t: e(t) / 3.0, groups=True, old=True),
    "group_factor": Scene(lambda e, t: 0.5 * e(t), groups=True),
    "group_ratio": Scene(lambda e, t: e(t) / 3.0, groups=True),
    "companion_broken": Scene(
        lambda e, t: 0 * t + 1.0, {"linear": {"to": "50%", "until": "horizon"}}, signal="momentum"
    ),
    "two_causes": Scene(lambda e, t: 0.5 * shaped(COSINE, horizon=260)(t)),
    "unexplained": Scene(lambda e, t: e(t) * (1.0 + 0.12 * np.sin(t / 11.0))),
}  # fmt: skip


def bfloat16(values: Array) -> Array:
    bits = values.astype(np.float32).view(np.uint32)
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return kept.astype(np.uint32).view(np.float32).astype(float)


@dataclass(frozen=True)
class Picture:
    """float64[n] each: positions, promise, used, and what the cause gives (NaN where it says nothing); the others."""

    t: Array
    promised: Array
    used: Array
    explained: Array
    others: Sequence[Array]
    sentence: str


def played(cause: str, scene: Scene) -> Picture:
    """The scene as the engine judges it. Raises AssertionError: it names another cause."""
    document: dict[str, Any] = {
        "lrwatch": 1,
        "experiment": "x",
        "clock": {"horizon": T},
        "lr": {"base": 1, "schedule": COSINE if scene.signal != "lr" else scene.schedule},
    }
    if scene.groups:
        document["lr"]["groups"] = GROUPS
    if scene.signal != "lr":
        document[scene.signal] = {"base": 1, "schedule": scene.schedule}
    contract = from_document(document)
    metrics = [Metric(at, "loss", v) for at, v in ((75.0, 3.0), (150.0, 2.0), (225.0, 2.0), (300.0, 2.0))]
    session = Session(contract, only=["drift"], metrics=metrics if "plateau" in str(scene.schedule) else ())
    odd, name = scene.workers - 1, f"{scene.signal}/{'head' if scene.groups else '0'}"
    for rank in range(scene.workers):
        curve = Curve(contract, scene.signal, name.partition("/")[2])
        curve.next(np.empty(0), metrics)
        wrong = scene.rates if rank == odd else lambda e, t: e(t)
        borders = [0, R, scene.steps] if scene.resumed else [0, scene.steps]
        for segment, (begin, end) in enumerate(zip(borders, borders[1:], strict=False)):
            fields: dict[str, Any] = {"world": 3, "accumulate": 4, "steps_per_epoch": 40}
            fields["contract"] = "0" * 64 if scene.old and rank == odd and scene.workers > 1 else str(contract.identity)
            session.feed(Event("resume" if segment else "start", begin, rank=rank, segment=segment, fields=fields))
            t = np.arange(begin, end)
            right = scene.resumed and segment == 0
            columns = {"update": t, name: curve.at(t) if right else np.asarray(wrong(curve.at, t.astype(float)))}
            if scene.skips:
                columns["attempt"] = t + skipped(t)
            if scene.groups:
                body = Curve(contract, "lr", "body").at(t)
                columns["lr/body"] = 3.0 * body if scene.old else body
            if scene.signal != "lr":
                columns["lr/0"] = Curve(contract).at(t)
            session.feed(Chunk(columns, rank=rank, segment=segment, world=3))
    result = session.finish()
    mine = [f for f in result.findings if f.signal == scene.signal and f.group in (None, name.partition("/")[2])]
    assert mine, f"{cause}: nothing found"
    said = mine[0].cause
    assert said is not None and said.name == cause, f"{cause}: named {said and said.name}, {said and said.sentence}"
    lines = {(s.rank, s.signal, s.group): s for s in result.series}
    shown = lines[odd, scene.signal, name.partition("/")[2]]
    other = [s for key, s in lines.items() if key[1] == scene.signal and s is not shown]
    assert shown.explained is not None
    beside = [np.interp(shown.t, s.t, s.observed) for s in other]
    return Picture(shown.t, shown.expected, shown.observed, shown.explained, beside, said.sentence)


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 210, 14, 14, 34, 22
STYLE = """
text{font:12px system-ui,sans-serif;fill:#57606a}
.axis{stroke:#d0d7de}
.promised{stroke:#b45309;stroke-dasharray:5 4;stroke-width:1.6}
.used{stroke:#1d5fbf;stroke-width:2}
.given{stroke:#c084d8;stroke-opacity:.45;stroke-width:8}
.other{stroke:#8c959f;stroke-width:1.2}
@media(prefers-color-scheme:dark){text{fill:#9aa4ae}.axis{stroke:#3d444d}.promised{stroke:#f0a54a}
.used{stroke:#6cb0ff}.given{stroke:#c99be0;stroke-opacity:.4}.other{stroke:#6e7681}}
"""


def drawn(cause: str, picture: Picture) -> str:
    """A picture as SVG, for light and dark pages."""
    p = picture
    top = max(float(np.nanmax(v)) for v in (p.promised, p.used, *p.others)) or 1.0
    least = min(float(np.nanmin(v)) for v in (p.promised, p.used, *p.others))
    low = least if least > 0.6 * top else 0.0
    span = float(p.t[-1] - p.t[0]) or 1.0

    def line(name: str, values: Array) -> str:
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            return ""
        x = LEFT + (p.t[known] - p.t[0]) / span * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (values[known] - low) / (top - low) * (HEIGHT - TOP - BOTTOM)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        return f'<polyline class="{name}" fill="none" stroke-linejoin="round" points="{points}"/>'

    legend, at = [], LEFT
    words = [("given", "what the cause gives"), ("promised", "promised"), ("used", "used")]
    for name, text in words + ([("other", "other workers" if "rank" in cause else "other group")] if p.others else []):
        if name == "given" and not np.isfinite(p.explained).any():
            continue
        legend.append(
            f'<line class="{name}" x1="{at}" x2="{at + 26}" y1="14" y2="14"/><text x="{at + 32}" y="18">{text}</text>'
        )
        at += 54 + 7 * len(text)
    floor = HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{cause}">',
        f"<title>{cause}: promised and used learning rate over the steps</title><style>{STYLE}</style>",
        *legend,
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>',
        *(line("other", v) for v in p.others[:1]),
        line("given", p.explained),
        line("promised", p.promised),
        line("used", p.used),
        f'<text x="{LEFT}" y="{HEIGHT - 6}">step {p.t[0]:.0f}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{p.t[-1]:.0f}</text>',
        "</svg>\n",
    ]
    return "\n".join(part for part in parts if part)


def gallery(names: Sequence[str] = ()) -> dict[str, str]:
    """Path below docs/ → picture, of these causes or of all."""
    return {f"causes/{n}.svg": drawn(n, played(n, s)) for n, s in SCENES.items() if not names or n in names}


if __name__ == "__main__":
    wanted, failed = sys.argv[1:] or list(SCENES), 0
    (HERE / "causes").mkdir(exist_ok=True)
    for wish in wanted:
        try:
            (path, picture), *_ = gallery([wish]).items()
        except AssertionError as e:
            print(e, file=sys.stderr)
            failed = 1
            continue
        (HERE / path).write_text(picture, encoding="utf-8")
    sys.exit(failed)
