"""Keras' progress bars: ``Epoch 3/40`` and ``10/10 ━━━ 1s 5ms/step - loss: 0.69 - learning_rate: 5.0000e-04``.

One row per epoch, the last state of its bar, whose rate is the one that the epoch used. Epochs are printed from 1 and
counted from 0 here. The rate went through a float32; it stands there only when a callback such as LearningRateScheduler
or ReduceLROnPlateau puts it among the logs.
"""

from __future__ import annotations

import re

from lrwatch.readers._records import VALIDATION, Row, log_reader
from lrwatch.readers.base import Convention, Options

_EPOCH = re.compile(r"^\s*Epoch (\d+)(?:/\d+)?\b")
_BAR = re.compile(r"^\s*(\d+)/(\d+) \S")
_FIELD = re.compile(r" - (\w+): ([-+]?(?:nan|inf|[0-9.]+(?:e[-+]?\d+)?))")
_NAMES = {"learning_rate": "lr/0", "lr": "lr/0", "loss": "loss", "grad_norm": "grad_norm"}
CONVENTION = Convention(
    lr_read="used", axis="epoch", digits=9, known=("Keras prints one row per epoch, with the rate that the epoch used",)
)


class Parser:
    """Lines in their order: the bar's epoch stands above it."""

    def __init__(self, options: Options):
        self.epoch = -1
        self.told = -1

    def __call__(self, line: str) -> Row | None:
        if found := _EPOCH.search(line):
            self.epoch = int(found[1]) - 1
            return None
        bar = _BAR.search(line)
        if bar is None or bar[1] != bar[2] or self.epoch < 0 or self.told == self.epoch:
            return None
        fields = dict(_FIELD.findall(line))
        row = {_NAMES[name]: text for name, text in fields.items() if name in _NAMES}
        if "lr/0" not in row:  # the last batch; what ends the epoch comes after it
            return None
        self.told = self.epoch
        validations = {VALIDATION + k: v for k, v in fields.items() if k.startswith("val_") and "learning" not in k}
        return {**row, **validations, "epoch": str(self.epoch)}


def _detect(text: str) -> float:
    bar = re.search(r"\b(\d+)/\1 [^\n]* - loss: ", text)
    return 0.85 if re.search(r"^\s*Epoch \d+/\d+", text, re.M) and bar else 0.0


READER = log_reader("keras_log", CONVENTION, Parser, _detect)
