"""Several optimizers of one training, as for a GAN: one trace, one row per turn of the loop.

The row has the learning rates of the optimizers that have stepped since the row before, each as its last step used
it, in columns ``lr/<optimizer>/<group>``; an optimizer that did not step leaves its own out. The update that is counted
is the turn of the loop, which ``watch.step`` ends, whoever stepped in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lrwatch.agent.arguments import unwrapped, with_position
from lrwatch.agent.notes import on_its_way
from lrwatch.agent.recorder import Recorder
from lrwatch.errors import LrwatchError

Group = Mapping[str, Any]


def named(what: Any) -> dict[str, Any] | None:
    """Optimizers or schedulers by name (of a sequence: by index); None for a single one."""
    if isinstance(what, Mapping):
        return {str(name): one for name, one in what.items()}
    if isinstance(what, (list, tuple)):
        return {str(i): one for i, one in enumerate(what)}
    return None


class Several:
    """Optimizers as one that has all their groups; each still has its own hooks."""

    def __init__(self, members: Mapping[str, Any]):
        self.members = dict(members)
        if all(hasattr(m, "register_step_pre_hook") for m in self.members.values()):
            self.register_step_pre_hook = self._on_each("register_step_pre_hook")
        if all(hasattr(m, "register_load_state_dict_post_hook") for m in self.members.values()):
            self.register_load_state_dict_post_hook = self._on_each("register_load_state_dict_post_hook")

    @classmethod
    def of(cls, optimizers: Mapping[str, Any]) -> Several:
        """With wrappers taken off. Raises LrwatchError: none, the same twice, or one without groups."""
        members = {name: unwrapped(one) for name, one in optimizers.items()}
        if not members:
            raise LrwatchError("watch() was given no optimizer at all; pass optimizer={'gen': …, 'disc': …}")
        if len({id(m) for m in members.values()}) < len(members):
            raise LrwatchError(f"watch() was given one optimizer twice, as {' and '.join(members)}; give each once")
        if wrong := next((name for name in members if not name or "/" in name), None):
            raise LrwatchError(f"optimizer {wrong!r}: a name is part of lr/<optimizer>/<group>; use one without /")
        title = ", ".join(f"{name}: {type(m).__name__}" for name, m in members.items())
        named: type[Several] = type(title, (cls,), {})
        return named(members)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for m in self.members.values() for group in m.param_groups]

    @property
    def state(self) -> dict[Any, Any]:
        return {key: entry for m in self.members.values() for key, entry in getattr(m, "state", {}).items()}

    def names(self) -> list[str]:
        """The groups' names: ``gen/0``, ``disc/head``."""
        return [
            f"{name}/{group.get('name') or i}"
            for name, member in self.members.items()
            for i, group in enumerate(member.param_groups)
        ]

    def name(self, index: int, group: Group) -> str:
        return self.names()[index]

    def _on_each(self, register: str) -> Any:
        return lambda hook: Handles([getattr(m, register)(hook) for m in self.members.values()])


class Handles:
    """What registering on each gave."""

    def __init__(self, handles: Sequence[Any]):
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


class Positions:
    """Schedulers as one: the first one's position is the rows'; what the others do shows in their learning rates."""

    def __init__(self, members: Iterable[Any]):
        self.members = tuple(m for m in map(with_position, members) if m is not None)

    @property
    def last_epoch(self) -> Any:
        return self.members[0].last_epoch if self.members else None


class SeveralRecorder(Recorder):
    """Reads ``Several``: every hook fills in its optimizer's part of the open row."""

    __slots__ = ("_starts",)

    def before_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """The pre-step hook of one of them."""
        try:
            if self._unusual:
                if self.closed:
                    return
                self._before_unusual()
            if self._optimizer_width() != self._width:
                self._close_row()
                self._regroup(self._optimizer.param_groups)
            values: Any = self._open
            found = getattr(optimizer, "found_inf", None)
            found = 0.0 if found is None else self._value(found)
            if values is None:
                values = [None] * (self._width * (1 + len(self._companions)))
                self._open = values
                self._found_inf = found
            else:
                self._found_inf = _Both.of(self._found_inf, found)
            if found:
                self.mark_odd()
            start = self._starts[id(optimizer)]
            for i, group in enumerate(optimizer.param_groups, start):
                values[i] = self._value(group["lr"])
                for column, read in enumerate(self._companions.values(), 1):
                    values[column * self._width + i] = self._value(read(group))
            self._sched = self._position.last_epoch
        except Exception:
            self.errors += 1

    def _optimizer_width(self) -> int:
        return sum(len(m.param_groups) for m in self._optimizer.members.values())

    def _regroup(self, groups: Sequence[Group]) -> None:
        self._starts: dict[int, int] = {}
        start = 0
        for member in self._optimizer.members.values():
            self._starts[id(member)] = start
            start += len(member.param_groups)
        super()._regroup(groups)
        self._simple = False


class _Both:
    """Not zero when both are: each of them skipped."""

    def __init__(self, one: Any, other: Any):
        self._both = (one, other)

    @classmethod
    def of(cls, one: Any, other: Any) -> Any:
        if on_its_way(one) or on_its_way(other):
            return cls(one, other)
        return min(one or 0.0, other or 0.0)

    def settled(self, wait: bool = False) -> bool:
        return all(x.settled(wait) for x in self._both if on_its_way(x))

    @property
    def value(self) -> float:
        return min(float((x.value if on_its_way(x) else x) or 0.0) for x in self._both)
