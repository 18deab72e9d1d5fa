"""``python -m lrwatch`` is the ``lrwatch`` command."""

from __future__ import annotations

from lrwatch.cli import main

if __name__ == "__main__":
    main(prog_name="lrwatch")
