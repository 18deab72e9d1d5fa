"""The alert that always fires: whoever stops hearing it knows that nobody would hear the others either."""

from __future__ import annotations

from lrwatch.ops.rules.base import Alert, Group

GROUP = Group(
    "lrwatch.meta",
    "The dead-man's switch.",
    (
        Alert(
            "LrwatchWatchdog",
            "none",
            "vector(1)",
            "Rules are evaluated and alerts are delivered.",
            "This alert always fires. It goes to a receiver that raises the alarm when it stops coming.",
        ),
    ),
)
