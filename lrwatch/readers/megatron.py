"""Megatron-LM's training log: ``iteration 10/ 100 | consumed samples: 40 | … | learning rate: 3.000000E-04 | …``.

Iterations count from 1. The rate is read after the scheduler's step, so it is the next update's; ``consumed samples``
includes the row's own batch.
"""

from __future__ import annotations

import re

from lrwatch.readers._records import VALIDATION, Row, log_reader
from lrwatch.readers.base import Convention

_LINE = re.compile(r"\biteration\s+(\d+)/\s*\d+\s*\|(.*)")
_EVAL = re.compile(r"validation loss at iteration (\d+)\b[^|]*\|(.*)")
CONVENTION = Convention(
    lr_read="after",
    first_step=1,
    known=("Megatron-LM counts iterations from 1 and logs the rate after the scheduler's step (the next update's)",),
)


def parse(line: str) -> Row | None:
    """The row of a line."""
    if found := _LINE.search(line):
        fields = _fields(found[2])
        row = {"update": found[1]}
        for ours, names in (
            ("lr/0", ("learning rate",)),
            ("loss", ("lm loss", "loss")),
            ("grad_norm", ("grad norm",)),
        ):
            text = next((fields[name] for name in names if name in fields), None)
            row |= {} if text is None else {ours: text}
        try:
            row["samples"] = str(int(fields["consumed samples"]) - int(fields["global batch size"]))
        except (KeyError, ValueError):
            pass
        return row
    if found := _EVAL.search(line):
        fields = _fields(found[2])
        return {"update": found[1]} | {
            VALIDATION + name.removesuffix(" value"): text for name, text in fields.items() if name.endswith("value")
        }
    return None


def _fields(text: str) -> dict[str, str]:
    pairs = (part.rpartition(":") for part in text.split("|"))
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


READER = log_reader("megatron", CONVENTION, lambda options: parse, lambda text: 0.95 if _LINE.search(text) else 0.0)
