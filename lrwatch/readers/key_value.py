"""Any log whose lines say what is what: ``step=10 lr=1e-4``, ``step: 10 | lr: 1e-4``, ``"step": 10, "lr": 1e-4``.

A line is a row when it has a step and a learning rate, a loss or a gradient norm, by the names of ``trace.names`` or
``--map``. When the rate was read is unknown without ``--lr-read``; steps count from 0 without ``--first-step``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from lrwatch.readers._records import Row, log_reader
from lrwatch.readers._tables import ROW_INDEX, mapped
from lrwatch.readers.base import Convention, Options
from lrwatch.trace.model import SIGNALS
from lrwatch.trace.names import resolve

_PAIR = re.compile(
    r"(?<![\w./-])[\"']?((?:learning rate|grad norm|train loss)|[A-Za-z_][\w./-]*)[\"']?\s*[=:]\s*[\"'\[]?"
    r"([-+]?(?:nan|inf(?:inity)?|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))(?![\w.])",
    re.I,
)
_WORD = re.compile(r"\b(step|iter|iteration)\s+\[?(\d+)(?:\s*/\s*\d+)?\]?(?=[\s:|,\]]|$)", re.I)
_PLACE = re.compile(r"(?<=[\w>]):[A-Za-z_]\w*:\d+(?=\s|$)")
"""Where a line of a program was: ``train:step:42``."""
_LONGEST: Final = 1 << 14
CONVENTION = Convention(known=("steps of the log count from 0 (--first-step 1 if the first is number 1)",))


class Parser:
    """Lines, each by itself."""

    def __init__(self, options: Options):
        self.options = options
        self.layout = lru_cache(maxsize=1024)(self._layout)

    def __call__(self, line: str) -> Row | None:
        if len(line) > _LONGEST:
            return None
        found = _PAIR.findall(line)
        if len({name for name, _ in found}) < len(found):
            found = _PAIR.findall(_PLACE.sub(" ", line))
        found = [(name.replace(" ", "_"), text) for name, text in found]
        found += [(name, text) for name, text in _WORD.findall(line)]
        if len(found) < 2:
            return None
        columns = self.layout(tuple(name for name, _ in found))
        row = {column: found[i][1] for column, i in columns}
        useful = any(c in ("loss", "grad_norm") or c.partition("/")[0] in SIGNALS for c in row)
        return row if "update" in row and useful else None

    def _layout(self, names: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
        layout = resolve(names, mapped(names, self.options, "", lenient=True))
        return tuple((c, i) for c, i in layout.columns.items() if i != ROW_INDEX)


def _detect(text: str) -> float:
    parse = Parser(Options())
    rows = [row for line in text.splitlines()[:2000] if (row := parse(line)) is not None]
    if any(c.startswith("lr/") for row in rows for c in row):
        return 0.3
    return 0.1 if rows else 0.0


READER = log_reader("key_value", CONVENTION, Parser, _detect)
