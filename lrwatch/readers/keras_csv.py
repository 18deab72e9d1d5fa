"""Keras' CSVLogger: one row per epoch, ``epoch,learning_rate,loss,…``.

Epochs count from 0, and the rate is the one that the epoch used; it is there when a callback such as
LearningRateScheduler or ReduceLROnPlateau puts it among the logs. It went through a float32. A clock that counts epochs
takes the rows as they are; for one that counts updates ``--steps-per-epoch`` places them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lrwatch.readers._delimited import File, lines
from lrwatch.readers._tables import separated
from lrwatch.readers.base import Convention, Options, Reader, TraceSource

CONVENTION = Convention(
    lr_read="used", axis="epoch", digits=9, known=("Keras writes one row per epoch, with the rate that the epoch used",)
)
_RATES = ("learning_rate", "lr")


def _open(path: Path, options: Options) -> TraceSource:
    return File(path, options, "keras_csv", CONVENTION)


def _detect(path: Path, head: bytes) -> float:
    if path.is_dir():
        return 0.0
    cells, _ = separated(head.partition(b"\n")[0].decode("utf-8", "replace").strip())
    keras = cells[:1] == ["epoch"] and "step" not in cells and any(rate in cells for rate in _RATES)
    return 0.92 if keras and "loss" in cells else 0.0


READER = Reader("keras_csv", _detect, _open, partial(lines, convention=CONVENTION))
