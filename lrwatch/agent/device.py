"""Tensors → numbers, by value and without waiting for a device. The only module of the agent that imports torch.

A scalar on the CPU is read at once. One on a device is copied into pinned host memory on the stream that made it; an
event tells later, when the training thread asks again, that it has arrived. Nothing here is called from another
thread, and nothing is queued while a CUDA graph is being captured: a copy in a graph would be replayed for ever.

Not run where there is no GPU: the tests drive this path on the CPU with a device module of their own.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

__all__ = ["Copies", "Copy", "Tensor", "counts", "memory", "read", "untraced"]

SLOTS: Final = 4096
"""Scalars that may be on their way at once, per device; without a free slot a value is left out."""


class Copy:
    """A scalar on its way to the host."""

    __slots__ = ("_event", "_owner", "_slot", "value")

    def __init__(self, owner: Copies, slot: int, event: Any):
        self._owner, self._slot, self._event = owner, slot, event
        self.value: float | None = None

    def settled(self, wait: bool = False) -> bool:
        """Whether ``value`` is there. ``wait`` waits for it."""
        if self.value is not None:
            return True
        if wait:
            self._event.synchronize()
        elif self._owner.capturing() or not self._event.query():
            return False
        self.value = self._owner.take(self._slot)
        return True


class Copies:
    """The pinned memory of one device.

    Args:
        module: torch's module for the kind of device (``torch.cuda``); it has ``Event`` and ``current_stream``.
        device: the device. pin: False only where there is nothing to pin to.
    """

    def __init__(self, module: Any, device: Any, *, slots: int = SLOTS, pin: bool = True):
        self._module, self._device = module, device
        memory = torch.empty(slots, dtype=torch.float64, pin_memory=pin)
        self._memory = memory.numpy()
        self._slots = memory.unbind()
        self._events = [module.Event() for _ in range(slots)]
        self._free = deque(range(slots))

    def capturing(self) -> bool:
        """Whether the current stream is being captured into a graph."""
        ask = getattr(self._module, "is_current_stream_capturing", None)
        return bool(ask()) if ask is not None else False

    def start(self, tensor: Tensor) -> Copy | None:
        """Queue the copy of a scalar; None while a graph is captured or when no slot is free."""
        if tensor.numel() != 1 or self.capturing() or not self._free:
            return None
        slot = self._free.popleft()
        self._slots[slot].copy_(tensor.detach().reshape(()), non_blocking=True)
        event = self._events[slot]
        event.record(self._module.current_stream(self._device))
        return Copy(self, slot, event)

    def take(self, slot: int) -> float:
        """The value that arrived in a slot, which is free again."""
        value = float(self._memory[slot])
        self._free.append(slot)
        return value


_copies: dict[Any, Copies] = {}


def read(tensor: Tensor) -> float | Copy | None:
    """The value of a scalar tensor: at once on the CPU, later from a device, None where there is none to have.

    A DTensor is read only if every worker holds all of it: anything else would need a collective.

    Raises:
        RuntimeError, TypeError: more than one element, or not a real number.
    """
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        placements = getattr(tensor, "placements", None)
        if placements is not None:
            if not all(p.is_replicate() for p in placements):
                return None
            tensor = tensor.to_local()  # type: ignore[attr-defined]
    if tensor.is_cpu:
        return float(tensor.item())
    if tensor.is_meta:
        return None
    copies = _copies.get(tensor.device)
    if copies is None:
        copies = _copies[tensor.device] = Copies(torch.get_device_module(tensor.device), tensor.device)
    return copies.start(tensor)


def memory(device: Any) -> tuple[int, int] | None:
    """Bytes of a CUDA device that tensors use, and that the allocator holds; None where it does not say.

    These are the allocator's own counts: asking for them waits for no device.
    """
    stats = torch.cuda.memory_stats_as_nested_dict(device)
    try:
        return tuple(int(stats[f"{kind}_bytes"]["all"]["current"]) for kind in ("allocated", "reserved"))  # type: ignore[return-value]
    except (KeyError, TypeError):
        return None


def counts(tensors: Sequence[Tensor]) -> list[int]:
    """The values of scalars on any device. Waits for the device: not for use in a training step."""
    try:
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            return []
        return [int(t.item()) for t in tensors if not t.is_meta and t.numel() == 1]
    except (RuntimeError, TypeError, ValueError):
        return []


def untraced(*functions: Any) -> None:
    """Keep ``torch.compile`` out of these functions and of the comprehensions in them.

    The same as ``torch._dynamo.disable`` without its wrapper, which costs a microsecond per call. Nothing to do
    before something has loaded the compiler; every torch optimizer does.
    """
    frames: Any = sys.modules.get("torch._dynamo.eval_frame")
    if frames is None:
        return
    for function in functions:
        codes = [function.__code__]
        for code in codes:
            frames.skip_code(code)
            codes.extend(c for c in code.co_consts if isinstance(c, type(code)))
        function._torchdynamo_disable = True
        function._torchdynamo_disable_msg = "lrwatch reads the learning rate here"
