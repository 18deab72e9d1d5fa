"""Where this process stands among the workers, and the few things that workers must agree on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from lrwatch.errors import LrwatchError

T = TypeVar("T")
_PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True)
class Place:
    """A worker's rank, how many there are, and its device. What they agree on travels in CPU memory (gloo)."""

    rank: int
    local_rank: int
    world: int
    device: torch.device

    def any(self, flag: bool) -> bool:
        """Whether it is true for at least one worker; also a barrier. No device is synchronised."""
        if self.world == 1:
            return flag
        votes = torch.tensor([flag], dtype=torch.uint8)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return bool(votes.item())

    def total(self, *values: float) -> list[float]:
        """Each value summed over the workers."""
        if self.world == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return [float(v) for v in sums]

    def from_first(self, value: T) -> T:
        """Rank 0's value, everywhere."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


@contextmanager
def join(rank: int, local_rank: int, world: int, device: str, init_method: str | None) -> Iterator[Place]:
    """Take this process's place among the workers, and leave it at the end.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``. init_method: where the workers meet, e.g. ``file:///tmp/x`` or
            ``env://`` (MASTER_ADDR, MASTER_PORT); None for a single process.

    Raises:
        LrwatchError: CUDA was asked for and is not there.
    """
    torch.set_num_threads(1)  # one worker per core; more threads only get into each other's way
    where = _device(device, local_rank)
    if init_method is None:
        yield Place(rank, local_rank, world, where)
        return
    if init_method.startswith("file:") and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all on this machine: listen on loopback only
    backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=init_method, rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        yield Place(rank, local_rank, world, where)
    finally:
        dist.destroy_process_group()


def _device(wanted: str, local_rank: int) -> torch.device:
    count = torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and not count):
        return torch.device("cpu")
    if not count:
        raise LrwatchError("--device cuda: torch sees no CUDA device here; use --device cpu, or a CUDA build of torch")
    if local_rank >= count:
        raise LrwatchError(f"worker {local_rank} of this machine has no GPU of its own, there are {count}; start fewer")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
