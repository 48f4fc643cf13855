"""The site of the documentation: it builds without a warning, has every page, and names nothing that a browser would fetch from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a page that the navigation leaves out, and a link that leads nowhere, fail the build."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    """Those of `docs/`, those of the root, and one for each decision."""
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert built == pages | {"security.html", "changelog.html", "adr/index.html", "404.html"}
    assert (site / "security.html").read_text(encoding="utf-8").count("faults.html") > 0
    decisions = (site / "adr" / "index.html").read_text(encoding="utf-8")
    assert all(path.stem in decisions for path in (ROOT / "docs" / "adr").glob("*.md"))


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    """No font, script, style or picture of another host; links for people may lead there."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"?(https?:[^\" >]+)", text)
        loaded += re.findall(r"<link[^>]+rel=\"?(?:stylesheet|preload|preconnect|icon)[^>]+href=\"?(https?:[^\" >]+)", text)
        assert not loaded, f"{page.name}: {loaded}"


def test_diagrams_are_drawn_by_what_the_site_holds(site: Path) -> None:
    """Pages with diagrams, and no others, load the library that draws them from the site itself."""
    library = ROOT / "packaging/diagrams/node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js"
    if not library.is_file():
        pytest.skip("no npm, or nobody ran it: the diagrams of the site stay text")
    drawn = {"layers.html", "life-cycles.html"}
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert (page.name in drawn) == ('<pre class="mermaid">' in text) == ("mermaid.tiny.js" in text), page.name
    assert (site / "assets" / "mermaid.tiny.js").read_bytes() == library.read_bytes()
