"""The pages: every check, cause and family has a complete one, and the rendered ones are current."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from lrwatch.contract import from_document
from lrwatch.contract.document import parse
from lrwatch.errors import LrwatchError
from lrwatch.report import pages
from lrwatch.report.pages import Block, Topic, blocks

DOCS = Path(__file__).parents[2] / "docs"
TOPICS = pages.topics()


def named(topic: Topic) -> str:
    return f"{topic.kind}-{topic.name}"


@pytest.mark.parametrize("topic", TOPICS, ids=named)
def test_every_topic_is_found_by_its_name_and_alias(topic: Topic) -> None:
    for word in filter(None, (topic.name, topic.alias, topic.alias.lower(), topic.name.replace("_", "-"))):
        assert topic.name in [found.name for found in pages.find(word)]


@pytest.mark.parametrize("topic", [t for t in TOPICS if t.kind == "check"], ids=named)
def test_every_check_has_all_sections(topic: Topic) -> None:
    page = topic.page()
    headings = [block.text for block in page if block.kind == "heading"]
    assert headings == ["What it checks", "Why it matters", "Example", "Fix", "Source"]
    for block, following in zip(page, page[1:], strict=False):
        assert block.kind != "heading" or following.kind != "heading", f"{block.text} is empty"


@pytest.mark.parametrize("topic", [t for t in TOPICS if t.kind == "family"], ids=named)
def test_every_family_shows_formula_example_source_and_parameters(topic: Topic) -> None:
    page = topic.page()
    assert page[0].kind == "code" and "f" in page[0].text
    assert [b.text for b in page if b.kind == "heading"] == ["Example", "Source", "Parameters"]
    assert any(b.text.startswith("First value:") for b in page)
    example = page[[b.text for b in page].index("Example") + 1]
    schedule = example.text
    tree, _ = parse(f"lrwatch: 1\nexperiment: x\nclock: {{horizon: 20000}}\nlr: {{base: 1.0, schedule: {schedule}}}")
    assert from_document(tree).signals["lr"].schedule[-1].family == topic.name


@pytest.mark.parametrize("topic", TOPICS, ids=named)
def test_prose_fits_80_columns(topic: Topic) -> None:
    for line in pages.text(topic).splitlines():
        assert len(line) <= 80 or line.startswith("    ") or topic.kind == "contract"


def test_the_annotated_contract_is_valid() -> None:
    (topic,) = pages.find("contract")
    tree, _ = parse(pages.text(topic))
    contract = from_document(tree)
    assert (contract.experiment, contract.horizon, sorted(contract.signals["lr"].groups)) == (
        "gpt-small",
        20000.0,
        ["head"],
    )


def test_what_the_annotated_contract_leaves_commented_is_valid_too() -> None:
    (topic,) = pages.find("contract")
    text = re.sub(r"^( *)# (?=[a-z_]+: |amendments:|- \{)", r"\1", pages.text(topic), flags=re.MULTILINE)
    contract = from_document(parse(text)[0])
    assert sorted(contract.signals) == ["lr", "weight_decay"]
    assert sorted(contract.signals["lr"].groups) == ["backbone", "embeddings", "head"]
    assert contract.goal and contract.cost and len(contract.amendments) == 3
    assert contract.batch.size == 1024 and contract.recording.ranks == "all"


def test_nothing_of_that_name() -> None:
    with pytest.raises(LrwatchError) as caught:
        pages.find("cosin")
    assert str(caught.value) == (
        "nothing is called 'cosin'; did you mean 'cosine'? (`lrwatch explain` lists everything)"
    )
    with pytest.raises(LrwatchError) as caught:
        pages.find("zzz")
    assert str(caught.value) == "nothing is called 'zzz' (`lrwatch explain` lists everything)"


def test_listing_names_everything_within_80_columns() -> None:
    lines = pages.listing().splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "} == {t.name for t in TOPICS}


def test_blocks() -> None:
    docstring = """What it is.

        a = b

    First value: 1,
    here. At the end: ``2``.
    Past L: 3.

    Example:
        ``{x: {}}``

    Source: a book,
    its end.
    """
    assert blocks(docstring) == [
        Block("prose", "What it is."),
        Block("code", "a = b"),
        Block("prose", "First value: 1, here. At the end: ``2``."),
        Block("prose", "Past L: 3."),
        Block("heading", "Example"),
        Block("code", "{x: {}}"),
        Block("heading", "Source"),
        Block("prose", "a book, its end."),
    ]


def test_blocks_below_a_heading() -> None:
    docstring = (
        "One line.\n\nWhat it checks\n    Some words\n    on two lines.\n\n    More.\n\n        code\n\nFix\n    Do."
    )
    assert blocks(docstring) == [
        Block("prose", "One line."),
        Block("heading", "What it checks"),
        Block("prose", "Some words on two lines."),
        Block("prose", "More."),
        Block("code", "code"),
        Block("heading", "Fix"),
        Block("prose", "Do."),
    ]


def test_the_rendered_pages_are_current() -> None:
    spec = importlib.util.spec_from_file_location("render", DOCS / "render.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.rendered()
    there = {str(p.relative_to(DOCS)) for f in ("checks", "lint", "families") for p in DOCS.glob(f"{f}/*.md")}
    assert there == {name for name in made if "/" in name}, "run: python docs/render.py"
    for name, text in made.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, (
            f"docs/{name} is out of date; run: python docs/render.py"
        )
