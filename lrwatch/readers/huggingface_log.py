"""What the Hugging Face Trainer prints: ``{'loss': 2.3, 'grad_norm': 1.1, 'learning_rate': 5e-05, 'epoch': 0.1}``.

The lines have no step, only the share of epochs that was done. ``--steps-per-epoch`` (or ``batch.steps_per_epoch`` of
the contract) places them, or ``--every`` with the run's ``logging_steps``; without either the rate cannot be compared.
Since transformers 4.51 the rate is the one that the update used, before it is the next update's. Lines of transformers
5, whose numbers are texts of 4 digits, tell which; of others the convention is unknown without ``--lr-read``.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import replace
from typing import Any, Final

from lrwatch.readers._records import VALIDATION, Row, log_reader
from lrwatch.readers.base import Convention, Options

_LINE = re.compile(r"\{'(?:loss|eval_loss|train_runtime|grad_norm|learning_rate)': .*\}")
_NAMES: Final = {"loss": "loss", "grad_norm": "grad_norm", "learning_rate": "lr/0"}
_TOLD: Final = (
    "steps are told from the share of epochs; if that is too coarse, --every N (its logging_steps) places its rows",
)
CONVENTION: Final = Convention(
    first_step=1,
    axis="epoch",
    known=("the log has epochs, no steps: --steps-per-epoch N or --every N (its logging_steps) places its rows",),
)


def _dict(line: str) -> dict[str, Any] | None:
    found = _LINE.search(line)
    if not found or len(line) > 1 << 16:
        return None
    text = re.sub(r"(?<=: )(-?)(nan|inf)\b", r"'\1\2'", found[0])
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return {k: v for k, v in value.items() if isinstance(k, str)} if isinstance(value, dict) else None


class Parser:
    """Lines in their order."""

    def __init__(self, options: Options):
        self.per, self.every, self.rows = options.steps_per_epoch, options.every, 0

    def __call__(self, line: str) -> Row | None:
        value = _dict(line)
        if value is None or "train_runtime" in value:
            return None
        row = {ours: str(value[theirs]) for theirs, ours in _NAMES.items() if theirs in value}
        row |= {
            VALIDATION + k.removeprefix("eval_"): str(v)
            for k, v in value.items()
            if k.startswith("eval_") and not k.endswith(("runtime", "_per_second"))
        }
        if any(c.startswith(VALIDATION) for c in row):
            return {**row, **self._place(value.get("epoch", ""), self.rows)}
        if not row:
            return None
        self.rows += 1
        return {**row, **self._place(value.get("epoch", ""), self.rows)}

    def _place(self, epoch: object, rows: int) -> dict[str, str]:
        """The number of the update, from 1, where it can be told."""
        if self.every:
            return {"update": str(rows * self.every)}
        if not self.per:
            return {}
        return {"update": update_of(str(epoch), self.per, isinstance(epoch, str)) or f"somewhere at epoch {epoch}"}


def update_of(epoch: str, per: int, quoted: bool) -> str:
    """The update at the end of which so many epochs were done; empty where the text is too short to tell.

    Transformers 5 writes texts of 4 significant digits (``quoted``), those before rounded to 2 decimals, or all digits.

    >>> update_of("0.05", 20, True), update_of("10.25", 1000, True), update_of("10.25", 8, False)
    ('1', '', '82')
    """
    try:
        value = float(epoch)
    except ValueError:
        return ""
    if not 0 < value < 1e12:
        return ""
    unit = 0.01 if len(epoch.partition(".")[2]) <= 2 else 0.0
    if quoted:
        unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    near = round(value * per)
    return str(near) if unit * per < 1 and abs(value * per - near) <= unit * per / 2 + 1e-6 * per else ""


def _conventions(text: str, options: Options) -> Convention:
    quoted = re.search(r"\{'(?:loss|grad_norm|learning_rate)': '", text) is not None
    axis: Any = "update" if options.steps_per_epoch or options.every else "epoch"
    known = CONVENTION.known if axis == "epoch" else () if options.every else _TOLD
    if quoted:
        known = (*known, "the rate is the one that the update used: these are lines of transformers 5")
    digits = 4 if quoted else None
    return replace(CONVENTION, lr_read="used" if quoted else "unknown", axis=axis, digits=digits, known=known)


def _detect(text: str) -> float:
    return 0.9 if any(_dict(line) for line in text.splitlines() if "{'" in line) else 0.0


READER = log_reader("huggingface_log", CONVENTION, Parser, _detect, conventions=_conventions)
