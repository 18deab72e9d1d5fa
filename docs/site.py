"""What mkdocs is told beyond mkdocs.yml: the site has the repository's layout, so that one link is right in both.

The pages of docs/ are at the top of the site; README.md is its first page; the pages of alerts/, dashboards/, deploy/,
examples/ and tests/ stand beside docs/ in the repository and below their own names in the site, and the rules they
link to are copied along. A link is resolved as GitHub does, from the page's place in the repository, and written again
for the site. A nav entry that ends in ``/`` stands for all pages of that folder.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BESIDE = ("alerts", "dashboards", "deploy", "examples", "tests")
LINK = re.compile(r"(?<=\]\()([^)\s:#]+)(#[^)\s]*)?(?=\))")
WIDE = re.compile(r"^\|(?:[ :-]*-[ :-]*\|){5,}$", re.MULTILINE)
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def place(path: str) -> str:
    """Where a file of the repository is in the site: ``docs/a.md`` at a.md, ``docs/checks`` at its index."""
    if path == "README.md":
        return "index.md"
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
    return path.removeprefix("docs/")


def origin(place: str) -> str:
    """The file of the repository that is at this place of the site."""
    if place == "index.md":
        return "README.md"
    return place if place.startswith(tuple(f"{name}/" for name in BESIDE)) else f"docs/{place}"


def beside() -> list[str]:
    """Files out of docs/ that are in the site: README.md, the pages of the other folders, the rules."""
    found = ["README.md", *(f"{name}/README.md" for name in BESIDE)]
    found += [p.relative_to(ROOT).as_posix() for p in ROOT.glob("alerts/runbooks/*.md")]
    found += [p.relative_to(ROOT).as_posix() for p in ROOT.glob("alerts/rules/*.yml")]
    return sorted({f for f in found if (ROOT / f).exists()})


def linked(markdown: str, page: str) -> str:
    """A page of the repository with its links as the site needs them."""
    here = posixpath.dirname(place(page))

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link[1]))
        return posixpath.relpath(place(target), here or ".") + (link[2] or "")

    parts, end = [], 0
    for code in CODE.finditer(markdown):
        # the code in a link's own text is kept apart from the link, which is after it
        parts += [LINK.sub(moved, markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(moved, markdown[end:])])


def piped(markdown: str) -> str:
    """Code in the rows of tables with its bars bare: GitHub wants them escaped, Python-Markdown shows the escape."""
    row = re.compile(r"^\|.*$", re.MULTILINE)
    return row.sub(lambda line: re.sub(r"`[^`\n]*`", lambda code: code[0].replace("\\|", "|"), line[0]), markdown)


def expanded(nav: list[Any]) -> list[Any]:
    """The nav with every folder's pages: its README first, then the others by name."""
    entries: list[Any] = []
    for entry in nav:
        title, value = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(value, list):
            entries.append({title: expanded(value)})
        elif value.endswith("/"):
            folder = ROOT / origin(value)
            pages = sorted(p.stem for p in folder.glob("*.md") if p.stem != "README")
            index = [{"All": f"{value}README.md"}] if (folder / "README.md").exists() else []
            entries.append({title: index + [{name: f"{value}{name}.md"} for name in pages]})
        else:
            entries.append(entry)
    return entries


def on_config(config: Any) -> Any:
    """The whole nav, and GitHub's anchors."""
    from pymdownx.slugs import slugify

    config["nav"] = expanded(config["nav"])
    config["mdx_configs"]["toc"] = {**config["mdx_configs"].get("toc", {}), "slugify": slugify(case="lower")}
    return config


def on_files(files: Any, config: Any) -> Any:
    """The files that are not in docs/, at their places."""
    from mkdocs.structure.files import File

    for path in beside():
        files.append(File.generated(config, place(path), abs_src_path=os.fspath(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """What GitHub shows of a page, in the site; a table of five columns and more gets the room of the contents."""
    if WIDE.search(markdown):
        page.meta["hide"] = ["toc"]
    return piped(linked(markdown, origin(page.file.src_uri)))
