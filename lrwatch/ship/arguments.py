"""What a user may say wrongly, checked before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lrwatch.errors import LrwatchError


def checked_labels(pairs: Mapping[str, str]) -> dict[str, str]:
    """Labels that a receiver takes as they are; it would take others, too, and nobody could ask for them.

    Raises:
        LrwatchError: no name of a label, one that every series has already, or one without a value.
    """
    for name, value in pairs.items():
        if not (name.isascii() and name.isidentifier()) or name.startswith("__"):
            raise LrwatchError(f"--label {name}={value}: a name has letters, digits and underscores")
        if name in ("run_id", "rank", "group"):
            raise LrwatchError(f"--label {name}={value}: every series has its own {name}")
        if not value:
            raise LrwatchError(f"--label {name}=: is without a value, which is the same as no label")
    return dict(pairs)


def token(file: Path | None) -> str | None:
    """From the file, else from LRWATCH_SHIP_TOKEN; None without either. Raises LrwatchError."""
    if file is None:
        text = os.environ.get("LRWATCH_SHIP_TOKEN", "")
    else:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError) as e:
            raise LrwatchError(f"{file}: cannot be read: {getattr(e, 'strerror', None) or 'is no text'}") from None
        if not text.strip():
            raise LrwatchError(f"{file}: is empty; it should have a token")
    text = text.strip()
    if not (text.isascii() and text.isprintable()):
        raise LrwatchError("the token has characters that no header can hold")
    return text or None
