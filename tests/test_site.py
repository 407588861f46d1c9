"""The documentation as a site: it builds strictly, no link leads nowhere, every page is in its navigation, nothing comes from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent


class Page(HTMLParser):
    """What a page names: ids, and links with their tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value for name, value in attrs if value is not None}
        self.ids |= {said[name] for name in ("id", "name") if name in said}
        self.links += [(tag, said[name]) for name in ("href", "src") if name in said]


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    done.stdout = re.sub(r"\x1b\[[0-9;]*m", "", (done.stdout + done.stderr).partition("Traceback")[0])
    return done


def copied(folder: Path) -> Path:
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied(tmp_path_factory.mktemp("site"))
    done = build(folder)
    assert done.returncode == 0, done.stdout
    return folder / "var/site"


def dead_ends(site: Path) -> Iterator[str]:
    """Links of the built pages to files and anchors that are not there."""
    pages = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}
    for path, page in pages.items():
        for _, link in page.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            where, _, anchor = link.partition("#")
            target = (path.parent / unquote(where)).resolve() if where else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (anchor and target in pages and unquote(anchor) not in pages[target].ids | {"__top"}):
                yield f"{path.relative_to(site)}: {link}"


def test_no_link_picture_or_anchor_of_the_site_leads_nowhere(site: Path) -> None:
    assert list(dead_ends(site)) == []


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = {link for path in site.rglob("*.html") for tag, link in Page(path.read_text("utf-8")).links if tag not in ("a",)}
    canonical = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["site_url"]
    assert {link for link in loaded if re.match(r"https?:|//", link) and not link.startswith(canonical)} == set()


def test_every_page_is_in_the_navigation_once() -> None:
    def pages(entry: object) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
                yield from pages(below)

    listed = list(pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    assert sorted(listed) == sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize(("wrong", "why"), [("[x](nowhere.md)", "page does not"), ("[x](glossary.md#no-such-word)", "anchor does not")])
def test_a_link_that_leads_nowhere_fails_the_build(wrong: str, why: str, tmp_path: Path) -> None:
    folder = copied(tmp_path)
    with (folder / "docs/index.md").open("a") as page:
        page.write(f"\n{wrong}\n")
    done = build(folder)
    assert (done.returncode, why in done.stdout, "index.md" in done.stdout) == (1, True, True)


def test_a_picture_that_is_not_there_is_found(site: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(site, tmp_path / "site")
    (broken / "index.html").write_text('<img src="pictures/none.svg"><a href="glossary/#none"></a><a href="glossary/"></a>')
    assert sorted(dead_ends(broken)) == ["index.html: glossary/#none", "index.html: pictures/none.svg"]
