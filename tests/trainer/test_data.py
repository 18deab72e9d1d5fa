"""The corpus and the way it is dealt out."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import torch

from lrwatch.trainer.data import Batches, corpus, split, windows


def test_the_corpus_is_python_source_in_path_order(tmp_path: Path) -> None:
    for name, text in {
        "b.py": "B", "a.py": "A", "note.txt": "no", "pkg/z.py": "Z", "pkg/c.py": "C",
        "abc/d.py": "D", "test/x.py": "no", "site-packages/y.py": "no",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert corpus(100, tmp_path) == b"ABDCZ"
    assert corpus(3, tmp_path) == b"ABD"


def test_the_standard_library_has_enough_text() -> None:
    text = corpus(1 << 20)
    assert len(text) == 1 << 20
    assert text == corpus(1 << 20)
    assert text.count(b"\n    def ") > 1000


def test_the_end_of_the_text_is_held_out() -> None:
    train, held_out = split(bytes(range(100)))
    assert train.tolist() == list(range(90))
    assert held_out.tolist() == list(range(90, 100))


def test_targets_are_the_next_bytes() -> None:
    inputs, targets = windows(torch.arange(20, dtype=torch.uint8), torch.tensor([0, 3]), 4)
    assert inputs.tolist() == [[0, 1, 2, 3], [12, 13, 14, 15]]
    assert targets.tolist() == [[1, 2, 3, 4], [13, 14, 15, 16]]


def _dealt(rank: int, world: int, batches: int, seed: int = 0) -> list[list[int]]:
    """First bytes of the windows that a worker gets: 12 windows of 5 bytes, two at a time."""
    stream = Batches(torch.arange(61, dtype=torch.uint8), context=5, size=2, rank=rank, world=world, seed=seed)
    return [stream.next()[0][:, 0].tolist() for _ in range(batches)]


def test_the_workers_share_an_epoch_out_without_overlap() -> None:
    seen = [first for rank in range(3) for batch in _dealt(rank, 3, 2) for first in batch]
    assert sorted(seen) == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]


def test_epochs_differ_and_seeds_decide_them() -> None:
    first, second = _dealt(0, 1, 12)[:6], _dealt(0, 1, 12)[6:]
    assert sorted(chain(*first)) == sorted(chain(*second))
    assert first != second
    assert _dealt(0, 1, 12) == first + second
    assert _dealt(0, 1, 6, seed=1) != first


def test_a_position_is_all_there_is_to_remember() -> None:
    stream = Batches(torch.arange(61, dtype=torch.uint8), context=5, size=2, rank=1, world=2, seed=7)
    for _ in range(4):
        stream.next()
    assert (stream.position, stream.epoch, stream.per_epoch) == (4, 1, 3)
    later = Batches(torch.arange(61, dtype=torch.uint8), context=5, size=2, rank=1, world=2, seed=7)
    later.position = 4
    assert later.next()[0].equal(stream.next()[0])


def test_too_little_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="20 tokens do not fill one micro-batch of 2 x 3 x 4"):
        Batches(torch.zeros(20), context=4, size=2, rank=0, world=3, seed=0)
