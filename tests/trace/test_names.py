"""What loggers call things."""

from __future__ import annotations

import pytest

from lrwatch.trace.names import Layout, canonical, known, resolve


@pytest.mark.parametrize(
    ("header", "columns", "unused"),
    [
        ("epoch step loss lr", {"update": 1, "epoch": 0, "loss": 2, "lr/0": 3}, ()),
        ("lr-AdamW-1/head lr-AdamW-1/head-momentum", {"lr/head": 0, "momentum/head": 1}, ()),
        ("lr-AdamW lr-AdamW-1", {"lr/AdamW/0": 0, "lr/AdamW-1/0": 1}, ()),
        ("lr-Adam/pg1 lr-SGD/pg2-weight_decay", {"lr/Adam/0": 0, "weight_decay/SGD/1": 1}, ()),
        ("lr/Emb/0 train/lr/1", {"lr/Emb/0": 0, "lr/1": 1}, ()),
        ("learning-rate Learning_Rate", {"lr/0": 0}, ("Learning_Rate",)),
        ("lr lr_scale", {"lr/0": 0}, ()),
        ("lr_a lr_B", {"lr/a": 0, "lr/B": 1}, ()),
        ("lr_ lr/ lr-", {}, ()),
        ("iter iteration _step", {"update": 1}, ("iter", "_step")),
        ("clr slur lrs", {}, ()),
    ],
)
def test_headers(header: str, columns: dict[str, int], unused: tuple[str, ...]) -> None:
    assert resolve(header.split()) == Layout(columns, unused)


def test_what_the_user_says_comes_first() -> None:
    layout = resolve(["step", "lr", "head", "loss"], {"lr/head": 2, "update": 3})
    assert layout.columns == {"lr/head": 2, "update": 3}  # the loss column was said to be the step
    assert layout.signals("lr") == ["lr/head"] and layout.unused == ()


def test_what_the_user_may_say() -> None:
    assert [canonical(word) for word in ("step", "lr", "lr/a", "loss")] == ["update", "lr/0", "lr/a", "loss"]
    assert known("momentum/b") and known("rank") and not known("speed")
