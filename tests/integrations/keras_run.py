"""A small real training with Keras, on torch."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

from lrwatch.integrations.keras import LrwatchCallback
from tests.integrations.tiny import CONTRACT, UPDATES, Crash

ACCUMULATE = None
GIVEN = {"loss", "epoch"}
EVENTS = [("validation", n) for n in (3, 6, 9, 12)]
RTOL = 1e-6
# Keras computes its schedules in float32.
CHANGES = {"lr": {**CONTRACT["lr"], "dtype": "float32"}}  # type: ignore[dict-item]

X = np.stack([np.arange(6) / 6, np.arange(6) % 4 / 4, np.ones(6)], axis=1).astype("float32")
Y = X.sum(1, keepdims=True)


class Dies(keras.callbacks.Callback):  # type: ignore[misc]
    """Raises before an update."""

    def __init__(self, update: int):
        super().__init__()
        self.update = update

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if int(self.model.optimizer.iterations) == self.update:
            raise Crash("as planned")


def train(work: Path, watched: dict[str, Any] | None, resume: bool = False, crash_at: int | None = None) -> Any:
    """Train with ``watched`` as the callback's arguments, or without a watch; the weights and the watch."""
    keras.utils.set_random_seed(0)
    work.mkdir(exist_ok=True)
    if resume:
        model = keras.models.load_model(work / "saved.keras")
    else:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, UPDATES, 0.1)), "mse")
    callbacks: list[Any] = [] if crash_at is None else [Dies(crash_at)]
    callback = None if watched is None else LrwatchCallback(**watched)
    with callback or nullcontext():
        if callback is not None:
            callbacks.append(callback)
        fit: dict[str, Any] = {"batch_size": 2, "shuffle": False, "verbose": 0, "callbacks": callbacks}
        if crash_at is not None:
            callbacks.append(keras.callbacks.ModelCheckpoint(work / "saved.keras", save_freq=6))
        model.fit(X, Y, validation_data=(X, Y), initial_epoch=2 if resume else 0, epochs=4, **fit)
    return [v for w in model.get_weights() for v in w.flatten().tolist()], callback and callback.watch
