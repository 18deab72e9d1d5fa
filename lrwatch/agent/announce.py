"""New findings → one line each on stderr, and the caller's callback."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from lrwatch.findings import Finding

LINES: Final = 3
"""Findings of one code that get a line each; the summary has all."""
WAIT: Final = 5.0
"""Seconds that a line waits for a cause that further rows may make certain."""


def say(text: str) -> None:
    """One line on stderr, where there is one."""
    try:
        sys.stderr.write(f"lrwatch: {text}\n")  # in one piece: workers share a terminal
        sys.stderr.flush()
    except Exception:  # closed, or a broken pipe: nobody is listening
        pass


class Announcer:
    """Says every finding once.

    Args:
        rank: of this worker. call: what to do with a new finding at once, without waiting for its cause.
    """

    def __init__(
        self, rank: int, call: Callable[[Finding], object], monotonic: Callable[[], float] = time.monotonic
    ):
        self._rank, self._call, self._monotonic = rank, call, monotonic
        self._known: set[Any] = set()
        self._unsaid: dict[Any, float] = {}
        self._lines: Counter[str] = Counter()

    def take(self, findings: Iterable[Finding], last: bool = False) -> None:
        """Everything that is found now. ``last``: no cause will become clearer."""
        now = self._monotonic()
        for finding in findings:
            key = finding.key
            if key not in self._known:
                self._known.add(key)
                self._unsaid[key] = now + WAIT
                self._call(finding)
            if key in self._unsaid and (last or now >= self._unsaid[key] or settled(finding)):
                del self._unsaid[key]
                self._say(finding)

    def _say(self, finding: Finding) -> None:
        if finding.rank is None and self._rank != 0:  # what concerns the whole run is said by one worker
            return
        self._lines[finding.code] += 1
        if self._lines[finding.code] <= LINES:
            say(describe(finding))


def settled(finding: Finding) -> bool:
    """Whether more rows would not make the cause clearer."""
    return finding.cause is None or finding.cause.confidence == "high"


def describe(finding: Finding) -> str:
    """A finding in one line: severity, code, what, why, what to do."""
    parts = [f"{finding.severity} {finding.code} {finding.slug}: {finding.message}"]
    if finding.cause is not None and finding.cause.sentence:
        parts.append(finding.cause.sentence)
    if finding.fix:
        parts.append(f"fix: {finding.fix}")
    where = "" if finding.rank in (None, 0) else f" (rank {finding.rank})"
    return "; ".join(parts).replace("\n", " ") + where
