"""``watch(grad_norm_every=N)``: at every N-th update the sum of squares of the gradients that this worker holds.

It is made on the device by a few kernels and copied like a loss: no collective, nothing that waits. What the workers'
shards amount to together is found out afterwards, by ``trace.gradients``. Updates are chosen by their number, so that
all workers choose the same ones, after a restart too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lrwatch.agent.recorder import Group, Recorder
from lrwatch.errors import LrwatchError, did_you_mean

COLUMN: Final = "grad_sq"
SCOPES: Final = ("local", "global")


def scope(every: int | None, said: str | None, world: int | None) -> str | None:
    """Whose gradients a worker holds: ``local``, a shard of its own, or ``global``, all of them as every other worker.

    None where they are not asked for. Only of a worker on its own it is known without being said.

    Raises:
        LrwatchError: ``every`` below 1, an unknown word, several workers of which nobody says what each holds.
    """
    if every is None:
        if said is not None:
            raise LrwatchError(f"grad_norm_scope={said!r} needs grad_norm_every=, the number of updates between two")
        return None
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise LrwatchError(f"grad_norm_every={every!r}: must be a whole number of updates, at least 1")
    if said is not None and said not in SCOPES:
        raise LrwatchError(f"grad_norm_scope={said!r}: must be local or global{did_you_mean(said, SCOPES)}")
    if said is None and world != 1:
        raise LrwatchError(
            f"grad_norm_every={every} with {world or 'several'} workers needs grad_norm_scope=: 'local' where each "
            "holds a shard of the gradients (FSDP, ZeRO, tensor parallel), 'global' where each holds all of them (DDP)"
        )
    return said or "global"


class GradientRecorder(Recorder):
    """A recorder that reads gradients too: one more column, ``grad_sq``.

    Args:
        every: updates from one reading to the next. whole: every worker holds all gradients.
    """

    __slots__ = ("_every", "_kept", "_whole")

    def __init__(self, optimizer: Any, *, every: int, whole: bool, **options: Any):
        self._every, self._whole = every, whole
        self._kept: Any = None
        super().__init__(optimizer, **options)

    def before_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """The pre-step hook: the gradients are those that this update uses, unless they were read before."""
        super().before_update(optimizer, args, kwargs)
        try:
            kept, self._kept = self._kept, None
            if self._open is None or self.update % self._every:
                return
            if kept is None and not _closure(args, kwargs):  # which would make them only now
                kept = self._squares(getattr(optimizer, "grad_scale", None))
            if kept is not None:
                self._open = (*self._open[:-1], self._value(kept))
        except Exception:
            self.errors += 1

    def before_clipping(self) -> None:
        """Read the gradients now: they are clipped next."""
        try:
            due = not self.started or (self.update + (self._open is not None)) % self._every == 0
            self._kept = self._squares() if due and not self.closed else None
        except Exception:
            self.errors += 1

    def _squares(self, scale: Any = None) -> Any:
        """A tensor that nobody else has, a number, or None."""
        if self._device is None:
            return None
        held = [p for group in self._optimizer.param_groups for p in group["params"]]
        return self._device.squares(held, self._whole, scale)

    def _attach(self) -> None:
        super()._attach()
        if self._device is not None:
            own = type(self)
            self._device.untraced(Recorder.before_update, own._read, own._squares, own.before_clipping, _closure)
            self._device.untraced(*self._device.SQUARING)

    def _columns(self) -> tuple[str, ...]:
        return (*super()._columns(), COLUMN)

    def _regroup(self, groups: Sequence[Group]) -> None:
        super()._regroup(groups)
        self._simple = False

    def _read(self, groups: Sequence[Group]) -> tuple[Any, ...]:
        return (*super()._read(groups), None)


def _closure(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an optimizer was given one; ``args`` begin with the optimizer."""
    return kwargs.get("closure", args[1] if len(args) > 1 else None) is not None
