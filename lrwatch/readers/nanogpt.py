"""nanoGPT's log: ``iter 10: loss 2.5023, time 12.34ms, mfu 1.23%``, and its kin with a rate in the line.

Iterations count from 0; the rate is set before the update that uses it. nanoGPT itself prints no rate, its descendants
do: ``step   10 | loss: 6.1 | lr 3.0000e-04 | norm: 1.2 | …``.
"""

from __future__ import annotations

import re

from lrwatch.readers._records import VALIDATION, Row, log_reader
from lrwatch.readers.base import Convention

_NUMBER = r"([-+]?(?:nan|inf|\d[0-9.]*(?:[eE][-+]?\d+)?))"
_ITER = re.compile(rf"^\W*iter(?:ation)? (\d+): loss {_NUMBER}(?:,|\s|$)")
_KIN = re.compile(rf"^\W*step\s+(\d+)(?:/\d+)?\s*\| (?:train )?loss:?\s*{_NUMBER}")
_EVAL = re.compile(rf"^\W*step (\d+): train loss {_NUMBER}, val loss {_NUMBER}")
_RATE = re.compile(rf"\b(?:lr|learning rate):?\s*{_NUMBER}")
_NORM = re.compile(rf"\b(?:grad[_ ])?norm:?\s*{_NUMBER}")
CONVENTION = Convention(
    lr_read="used", first_step=0, known=("nanoGPT counts iterations from 0 and sets the rate before the update",)
)


def parse(line: str) -> Row | None:
    """The row of a line."""
    if found := _EVAL.search(line):
        return {"update": found[1], VALIDATION + "train_loss": found[2], VALIDATION + "val_loss": found[3]}
    found = _ITER.search(line) or _KIN.search(line)
    if found is None:
        return None
    row = {"update": found[1], "loss": found[2]}
    if rate := _RATE.search(line):
        row["lr/0"] = rate[1]
    if norm := _NORM.search(line):
        row["grad_norm"] = norm[1]
    return row


def _detect(text: str) -> float:
    return 0.85 if any(p.search(line) for line in text.splitlines() for p in (_ITER, _KIN, _EVAL)) else 0.0


READER = log_reader("nanogpt", CONVENTION, lambda options: parse, _detect)
