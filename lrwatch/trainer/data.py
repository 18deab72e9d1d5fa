"""Real text that every machine has: the source code of Python's own standard library, as bytes."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

VOCABULARY = 256
HELD_OUT = 0.1
"""Share of the text, at its end, that is kept for validation."""

_SKIP = frozenset({"__pycache__", "site-packages", "dist-packages", "test", "tests"})


def corpus(limit: int, root: Path | None = None) -> bytes:
    """The first ``limit`` bytes of the library's ``.py`` files, in path order: the same on every run.

    It differs between Python versions; workers of one run must use the same one.
    """
    root = root or Path(os.__file__).parent
    text = bytearray()
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(s for s in subfolders if s not in _SKIP)
        for name in sorted(files):
            if name.endswith(".py"):
                text += Path(folder, name).read_bytes()
                if len(text) >= limit:
                    return bytes(text[:limit])
    return bytes(text)


def split(text: bytes) -> tuple[Tensor, Tensor]:
    """Train and validation tokens, uint8[n] each."""
    tokens = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    border = int(len(tokens) * (1.0 - HELD_OUT))
    return tokens[:border], tokens[border:]


class Batches:
    """This worker's endless stream of micro-batches; ``position`` is all there is to remember.

    An epoch visits the windows of ``tokens`` in an order drawn from (seed, epoch), the workers side by side.
    """

    def __init__(self, tokens: Tensor, *, context: int, size: int, rank: int, world: int, seed: int):
        self.tokens, self.context, self.size, self.rank, self.world, self.seed = (
            tokens, context, size, rank, world, seed
        )  # fmt: skip
        self.windows = (len(tokens) - 1) // context
        self.per_epoch = self.windows // (size * world)
        if not self.per_epoch:
            raise ValueError(f"{len(tokens)} tokens do not fill one micro-batch of {size} x {world} x {context}")
        self.position = 0
        self._order: tuple[int, Tensor] | None = None

    @property
    def epoch(self) -> int:
        """Whole epochs before the next micro-batch."""
        return self.position // self.per_epoch

    def next(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets, int64[size, context] each."""
        epoch, k = divmod(self.position, self.per_epoch)
        first = (k * self.world + self.rank) * self.size
        picked = self._permutation(epoch)[first : first + self.size]
        self.position += 1
        return windows(self.tokens, picked, self.context)

    def _permutation(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = epoch, torch.randperm(self.windows, generator=generator)
        return self._order[1]


def windows(tokens: Tensor, which: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets int64[len(which), context] of the numbered windows of ``tokens``."""
    at = which[:, None] * context + torch.arange(context + 1)
    both = tokens[at].long()
    return both[:, :-1], both[:, 1:]
