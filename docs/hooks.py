"""What the site has beside `docs/`: pages of the repository's root, decision records under their headings, what draws diagrams.

MkDocs calls these functions by their names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files, InclusionLevel
from pymdownx.superfences import fence_code_format

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DRAWS = ROOT / "packaging/diagrams/node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js"  # `npm ci` fetches it there
ELSEWHERE = {"security.md": "SECURITY.md", "changelog.md": "CHANGELOG.md"}


def on_config(config: Any) -> Any:
    """Diagrams are drawn by a library that the site holds itself; without it they stay text, and nothing is fetched from elsewhere."""
    if DRAWS.is_file():
        fence = {"name": "mermaid", "class": "mermaid", "format": fence_code_format}
        config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the pages of the root, with their links as seen from `docs/`."""
    for name, source in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        for page, path in ELSEWHERE.items():
            text = text.replace(f"]({path}", f"]({page}")
        files.append(File.generated(config, name, content=text.replace("](docs/", "](")))
    if DRAWS.is_file():
        files.append(File.generated(config, f"assets/{DRAWS.name}", abs_src_path=str(DRAWS)))
    records = sorted((one for one in files if re.fullmatch(r"adr/\d{4}-.*\.md", one.src_uri)), key=lambda one: one.src_uri)
    lines = [f"- [{_title(one)}]({Path(one.src_uri).name})" for one in records]
    index = (
        "# Decisions\n\nWhat was chosen, what else was looked at, and what it costs; the newest last.\n\n" + "\n".join(lines) + "\n"
    )
    files.append(File.generated(config, "adr/index.md", content=index))
    for one in records:
        one.inclusion = InclusionLevel.NOT_IN_NAV
    return files


def on_page_markdown(markdown: str, *, page: Page, config: Any, files: Files) -> str:
    """Links to the pages of the root lead to their copies."""
    del config, files
    up = "../" * page.file.src_uri.count("/")
    for name, source in ELSEWHERE.items():
        markdown = markdown.replace(f"]({up}../{source}", f"]({up}{name}")
    return markdown


def on_page_content(html: str, *, page: Page, config: Any, files: Files) -> str:
    """Pages with diagrams load what draws them."""
    del config, files
    if '<pre class="mermaid">' not in html:
        return html
    return f'{html}<script src="{"../" * page.file.src_uri.count("/")}assets/{DRAWS.name}"></script>'


def _title(file: File) -> str:
    return file.content_string.partition("\n")[0].removeprefix("# ")
