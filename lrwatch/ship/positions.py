"""How far a run was shipped, and what came of it."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from lrwatch.errors import LrwatchError
from lrwatch.ship.spool import Place

FOLDER: Final = "shipped"


@dataclass
class Shipped:
    """What was done. ``rows``: taken by the receiver, ``samples`` of theirs, in so many ``requests``; ``moved``: given
    another time by more than a millisecond; ``refused``, ``untimed``, ``damaged``: rows left out."""

    rows: int = 0
    samples: int = 0
    requests: int = 0
    moved: int = 0
    refused: int = 0
    untimed: int = 0
    damaged: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def complete(self) -> bool:
        """Whether nothing was left out."""
        return not (self.refused or self.untimed or self.damaged)

    def sentence(self) -> str:
        """For people."""
        said = f"shipped {self.rows:,} rows ({self.samples:,} samples)"
        if self.moved:
            said += f"; {self.moved:,} with another time, because their clock was ahead, went back or stood still"
        if self.refused:
            said += f"; {self.refused:,} refused: {self.reasons.most_common(1)[0][0]}"
        if self.untimed:
            said += f"; {self.untimed:,} have no time and cannot be shipped"
        if self.damaged:
            said += f"; {self.damaged:,} places could not be read"
        return said


class Positions:
    """How far a run was shipped to one receiver under one set of labels: ``RUN_DIR/shipped/<hash>.json``.

    Raises:
        LrwatchError: another process ships the same to the same receiver; the file is no such file.
    """

    def __init__(self, run_dir: Path, url: str, labels: Mapping[str, str]):
        about = json.dumps([url, sorted(labels.items())])
        self.path = run_dir / FOLDER / f"{hashlib.sha256(about.encode()).hexdigest()[:12]}.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self.path.with_suffix(".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise LrwatchError(f"{run_dir}: another process ships this run to {url}") from None
        self.url = url
        self.ranks: dict[int, tuple[Place, int]] = {}
        """Rank → where to go on, and the last time that was sent, in milliseconds."""
        self.pending: dict[str, Any] | None = None
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        try:
            data = json.loads(self.path.read_text())
            for rank, at in data["ranks"].items():
                self.ranks[int(rank)] = Place(int(at["segment"]), int(at["offset"])), int(at["last"])
            self.pending = data["pending"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._lock.close()
            raise LrwatchError(
                f"{self.path}: does not say how far the run was shipped; without the file it is shipped from the start"
            ) from None

    def write(self) -> None:
        """Raises OSError."""
        at = {str(rank): {**asdict(where), "last": last} for rank, (where, last) in self.ranks.items()}
        part = self.path.with_suffix(".tmp")
        part.write_text(json.dumps({"to": self.url, "ranks": at, "pending": self.pending}, indent=1))
        part.replace(self.path)

    def close(self) -> None:
        self._lock.close()
