"""Every cause has a picture, drawn by what the engine says of it; the committed ones are those."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from lrwatch.diagnosis.causes import CAUSES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def gallery() -> Any:
    spec = importlib.util.spec_from_file_location("gallery", DOCS / "gallery.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gallery"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_cause_is_played_and_shown_on_its_page(gallery: Any) -> None:
    assert gallery.SCENES.keys() == CAUSES.keys()
    page = (DOCS / "causes.md").read_text(encoding="utf-8")
    for cause in CAUSES:
        assert f"(causes/{cause}.svg)" in page
        assert (DOCS / "causes" / f"{cause}.svg").exists()


def _some() -> list[Any]:
    return [c if c in ("rate", "group_ratio") else pytest.param(c, marks=pytest.mark.long) for c in CAUSES]


@pytest.mark.parametrize("cause", _some())
def test_a_picture_is_what_the_engine_says(gallery: Any, cause: str) -> None:
    [(path, picture)] = gallery.gallery([cause]).items()
    assert (DOCS / path).read_text(encoding="utf-8") == picture
    assert len(picture) < 60_000
