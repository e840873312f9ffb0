"""What `mkdocs build` cannot know by itself: the repository around the pages.

A link out of docs/ works where the repository is looked at and leads nowhere on the site: there it becomes the name of
the file, once it is certain that the file exists.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

_DOCS = Path(__file__).parent
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>\.\./[^)#]+|decisions)\)")
_LIST_OF_DECISIONS = "decisions/index.md"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """PluginError, which ends the build, for a link to a file that is not there."""
    source = page.file.src_uri

    def replace(match: re.Match[str]) -> str:
        place = (_DOCS / source).parent / match["target"]
        if not place.exists():
            raise PluginError(f"docs/{source} links to {match['target']}, which does not exist")
        inside = place.resolve()
        if inside == _DOCS / "decisions":
            return f"[{match['text']}]({_LIST_OF_DECISIONS})"
        return match[0] if inside.is_relative_to(_DOCS) else f"`{inside.relative_to(_DOCS.parent)}`"

    return _LINK.sub(replace, markdown)
