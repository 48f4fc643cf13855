"""What the site has beside `docs/`: pages of the repository's root, and decision records under their headings.

MkDocs calls these functions by their names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {"security.md": "SECURITY.md", "changelog.md": "CHANGELOG.md"}


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the pages of the root, with their links as seen from `docs/`."""
    for name, source in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        for page, path in ELSEWHERE.items():
            text = text.replace(f"]({path}", f"]({page}")
        files.append(File.generated(config, name, content=text.replace("](docs/", "](")))
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


def _title(file: File) -> str:
    return file.content_string.partition("\n")[0].removeprefix("# ")
