"""torchtitan's log: ``step: 10  loss: 8.1234  grad_norm: 1.2345  memory: …``.

Steps count from 1. The lines have no learning rate (torchtitan hands it to TensorBoard or W&B only): what can be
checked is the loss and the gradient norm.
"""

from __future__ import annotations

import re

from lrwatch.readers._records import VALIDATION, Row, log_reader
from lrwatch.readers.base import Convention

_NUMBER = r"([-+]?(?:nan|inf|[0-9.]+(?:[eE][-+]?\d+)?))"
_LINE = re.compile(rf"\bstep:\s*(\d+)\s+loss:\s*{_NUMBER}(?:\s+grad_norm:\s*{_NUMBER})?(?:\s+lr:\s*{_NUMBER})?")
_MARK = re.compile(r"\bstep:\s*\d+\s+loss:.*\b(?:tps|memory):")
CONVENTION = Convention(
    lr_read="used",
    first_step=1,
    known=("torchtitan counts steps from 1; its log has no learning rate, give its TensorBoard events as well",),
)


def parse(line: str) -> Row | None:
    """The row of a line."""
    found = _LINE.search(line)
    if found is None:
        return None
    if "validate" in line[: found.start()]:
        return {"update": found[1], VALIDATION + "loss": found[2]}
    row = {"update": found[1], "loss": found[2], "grad_norm": found[3], "lr/0": found[4]}
    return {column: text for column, text in row.items() if text}


READER = log_reader("torchtitan", CONVENTION, lambda options: parse, lambda text: 0.9 if _MARK.search(text) else 0.0)
