"""DeepSpeed's progress line: ``step=10, skipped=0, lr=[0.001, 0.0001], mom=[[0.9, 0.999], …]``.

Steps count from 1 and include those that the loss scaler skipped; ``skipped`` says how many those were. The rates, one
per group, are read after the scheduler's step, so they are the next update's.
"""

from __future__ import annotations

import re

from lrwatch.readers._records import Row, log_reader
from lrwatch.readers.base import Convention, Options

_LINE = re.compile(r"\bstep=(\d+), skipped=(\d+), lr=\[([^\]]*)\]")
CONVENTION = Convention(
    lr_read="after",
    first_step=1,
    known=("DeepSpeed counts steps from 1 and logs the rate after the scheduler's step (the next update's)",),
)


class Parser:
    """Lines in their order: whether a step was skipped is seen by the one before it."""

    def __init__(self, options: Options):
        self.last = (0, 0)

    def __call__(self, line: str) -> Row | None:
        found = _LINE.search(line)
        if found is None or int(found[1]) == 0:  # what is printed before the first step
            return None
        step, skipped = int(found[1]), int(found[2])
        this = (step - self.last[0], skipped - self.last[1]) == (1, 1)
        self.last = step, skipped
        row = {"update": str(step - skipped + this), "attempt": str(step - 1), "skipped": str(int(this))}
        rates = [text.strip() for text in found[3].split(",") if text.strip()]
        return row | {f"lr/{group}": rate for group, rate in enumerate(rates)}


READER = log_reader("deepspeed", CONVENTION, Parser, lambda text: 0.95 if _LINE.search(text) else 0.0)
