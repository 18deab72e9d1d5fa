"""``python -m lrwatch.ops.dashboards``: render the committed files of this checkout."""

from __future__ import annotations

from lrwatch import assets
from lrwatch.ops.dashboards import DASHBOARDS, build
from lrwatch.ops.thresholds import resolve

if __name__ == "__main__":
    for name, text in build.files(DASHBOARDS, resolve()).items():
        (assets.root() / "dashboards" / name).write_text(text, encoding="utf-8")
