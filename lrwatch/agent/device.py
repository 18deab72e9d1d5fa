"""Tensors → numbers, by value and without waiting for a device. The only module of the agent that imports torch.

A scalar on the CPU is read at once. One on a device is copied into pinned host memory on the stream that made it; an
event tells later, when the training thread asks again, that it has arrived. Nothing here is called from another
thread, and nothing is queued while a CUDA graph is being captured: a copy in a graph would be replayed for ever.

Not run where there is no GPU: the tests drive this path on the CPU with a device module of their own.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

__all__ = ["SQUARING", "Copies", "Copy", "Tensor", "counts", "memory", "read", "squares", "untraced"]

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
            tensor = tensor.to_local()  # type: ignore[attr-defined]  # a DTensor
    if tensor.is_cpu:
        return float(tensor.item())
    if tensor.is_meta:
        return None
    return _copies_from(tensor.device).start(tensor)


def _copies_from(device: Any) -> Copies:
    copies = _copies.get(device)
    if copies is None:
        copies = _copies[device] = Copies(torch.get_device_module(device), device)
    return copies


def squares(parameters: Iterable[Tensor], whole: bool, scale: Tensor | None = None) -> Tensor | float | None:
    """The sum of squares of the gradients that this worker holds, Σ g², float64[] on their device.

    Of a DTensor the local shard counts, and by its part where several workers hold the same one, so that the sum over
    the workers is that of the whole. Norms of 16-bit gradients are summed up in float32.

    Args:
        whole: every worker holds all gradients. scale: what a loss scaler still has to divide them by.

    Returns:
        None where it cannot be had without waiting or asking others: during graph capture, without gradients, for
        sparse ones, for some on another device, for partial sums, for shards where ``whole`` was said.
    """
    alike: dict[tuple[torch.dtype, float], list[Tensor]] = {}
    device, missing = None, False
    for parameter in parameters:
        grad = parameter.grad
        if grad is None:
            missing = missing or _local(parameter).numel() > 0
            continue
        share = _share(grad, whole)
        grad = _local(grad).detach()
        device = device or grad.device
        if share is None or grad.layout is not torch.strided or grad.is_meta or grad.device != device:
            return None
        alike.setdefault((grad.dtype, share), []).append(grad)
    if not alike:
        return None if missing else 0.0
    first = next(iter(alike.values()))[0]
    if not first.is_cpu and _copies_from(first.device).capturing():
        return None
    exact = torch.float32 if first.device.type == "mps" else torch.float64  # which has no other
    with torch.no_grad():
        parts = []
        for (dtype, share), grads in alike.items():
            norms = torch._foreach_norm(grads, 2, dtype=torch.float32 if dtype.itemsize < 4 else None)
            parts.append(torch.stack(norms).to(exact).square().sum() * share)
        total = torch.stack(parts).sum()
        return total if scale is None else total / scale.to(total.device, exact, non_blocking=True).square()


def _local(tensor: Any) -> Tensor:
    """What this worker holds of a tensor."""
    # DTensor has no types
    # a DTensor's own method, which torch has no types for
    return tensor.to_local() if hasattr(tensor, "placements") else tensor  # type: ignore[no-any-return]


def _share(grad: Any, whole: bool) -> float | None:
    """The part of this worker in a gradient that it may hold together with others; None where it has no part alone."""
    placements = getattr(grad, "placements", None)
    if placements is None:
        return 1.0
    if any(p.is_partial() for p in placements) or (whole and not all(p.is_replicate() for p in placements)):
        return None
    alike = [grad.device_mesh.size(i) for i, p in enumerate(placements) if p.is_replicate()]
    return 1.0 if whole else 1.0 / math.prod(alike)


SQUARING: Final = (squares, _local, _share, _copies_from, Copies.capturing)
"""The functions of ``squares``, for ``untraced``."""


def memory(device: Any) -> tuple[int, int] | None:
    """Bytes of a CUDA device that tensors use, and that the allocator holds; None where it does not say.

    These are the allocator's own counts: asking for them waits for no device.
    """
    stats = torch.cuda.memory_stats_as_nested_dict(device)
    try:
        allocated, reserved = (int(stats[f"{kind}_bytes"]["all"]["current"]) for kind in ("allocated", "reserved"))
    except (KeyError, TypeError):
        return None
    return allocated, reserved


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
