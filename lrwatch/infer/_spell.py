"""A shape with its numbers → as a contract spells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from lrwatch.infer._explanation import Explanation, whole
from lrwatch.infer._rows import Column
from lrwatch.infer._shapes import Shape
from lrwatch.infer._solve import Solution
from lrwatch.infer._warmup import Start, warmups
from lrwatch.schedules import families
from lrwatch.schedules.base import FloatArray

LOOSE: Final = 0.05
"""A length that may be off by more than this share of it is not known."""
_TIMES: Final = frozenset({"length", "period", "up", "down", "timescale"})


def written(
    column: Column,
    shape: Shape,
    start: Start | None,
    found: Solution,
    origin: float,
    offset: float,
    hold: int | None,
    freedom: tuple[FloatArray, FloatArray],
) -> Iterator[Explanation]:
    values = dict(zip(shape.whole, found.c.tolist(), strict=True))
    base = values.pop("base", None) or max(values.get("from", 0.0), values.get("at", 0.0), 0.0)
    if base <= 0.0 or any(value < -float(column.allowed.max()) for value in values.values()):
        return
    values = {name: max(value, 0.0) for name, value in values.items() if name != "at"}
    given = {k: v for k, v in shape.given.items() if k != "length"}
    params = {k: v for k, v in given.items() if _default(shape.family, k) != v}
    params = {k: [whole(m) for m in v] if isinstance(v, tuple) else whole(v) for k, v in params.items()}
    numbers = dict(zip(shape.unknown, found.x.tolist(), strict=True))
    length = numbers.get("length", shape.given.get("length"))
    begins = float(column.t[hold]) if hold is not None else 0.0 if start is None else start.s
    params |= {k: whole(v) for k, v in numbers.items() if k != "length"}
    if not (values.get("from") == base and _default(shape.family, "from") == "100%"):
        params |= {k: v for k, v in values.items() if k == "from"}
    params |= {k: whole(v) for k, v in values.items() if k == "to" and _default(shape.family, "to") != v}
    hidden = begins - origin + offset
    if hidden:
        params["offset"] = whole(hidden)
    end = None
    if length is not None:
        end = begins - hidden + length
        params |= {"over": whole(length)} if hidden else {"for": whole(length)}
        if shape.after not in ("hold", "continue"):
            params["after"] = shape.after
    main: tuple[dict[str, Any], ...] = ({shape.family: params},)
    if hold is not None and begins > (0.0 if start is None else start.s):
        first = 0.0 if start is None else start.s
        main = ({"constant": {"for": whole(begins - first)}}, *main)
    loose = list(zip(shape.unknown, found.x.tolist(), freedom[0].tolist(), strict=True))
    loose += zip(shape.whole, found.c.tolist(), freedom[1].tolist(), strict=True)
    said = [_unseen(name, v, off) for name, v, off in loose if name in _TIMES and off > LOOSE * v and off > 0.5]
    explained = Explanation(
        base, main, shape.rank + (hold is not None), end=end, unknown=tuple(said), loose=tuple(loose)
    )
    if start is None:
        yield explained
        return
    at = float(explained.curve().at(np.array([0.0]))[0])
    for warm in warmups(column, start, base, at):
        ends = next(iter(warm.values())).get("to", base)
        rank = explained.rank + 2.0 + 0.5 * (hidden > 0) + (ends not in (base, at))  # to elsewhere: one number more
        yield replace(explained, phases=(warm, *main), rank=rank)
        return


def _unseen(name: str, value: float, off: float) -> str:
    word = {"length": "the length of the decay"}.get(name, f"the {name}")
    if off >= value:
        return f"{word} cannot be told from these rows"
    return f"{word} is only known to lie between {value - off:,.6g} and {value + off:,.6g}"


def _default(family: str, name: str) -> Any:
    return next((p.default for p in families()[family].params if p.name == name), None)
