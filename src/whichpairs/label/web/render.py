"""Markdown as a tree of plain elements, which the page builds node by node: no HTML is ever parsed.

What a completion writes as HTML stays text; links and pictures are shown as what they say.
"""

from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

MOST = 20_000
"""Characters that are rendered; a longer text is shown as it is."""
DEEPEST = 40
TAGS = frozenset(
    [
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "strong",
        "em",
        "s",
        "code",
        "pre",
        "blockquote",
        "ul",
        "ol",
        "li",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "hr",
        "br",
    ]
)
Node = str | list[Any]
"""A text, or an element: its tag, then its nodes."""
_PARSER = (
    MarkdownIt("commonmark", {"html": False, "maxNesting": 20})
    .enable("table")
    .enable("strikethrough")
)


def tree(text: str) -> list[Node] | None:
    """The nodes of a text; None where it is too long, or cannot be read."""
    if len(text) > MOST:
        return None
    try:
        return _children(SyntaxTreeNode(_PARSER.parse(text)), 0)
    except (RecursionError, ValueError):
        return None


def _children(node: SyntaxTreeNode, depth: int) -> list[Node]:
    return [made for child in node.children for made in _node(child, depth + 1)]


def _node(node: SyntaxTreeNode, depth: int) -> list[Node]:
    if node.type in ("text", "html_inline", "html_block"):
        return [node.content]
    if node.type == "softbreak":
        return ["\n"]
    if node.type == "hardbreak":
        return [["br"]]
    if node.type == "code_inline":
        return [["code", node.content]]
    if node.type in ("fence", "code_block"):
        return [["pre", ["code", node.content]]]
    if node.type == "link":
        return [*_children(node, depth), f" ⟨{node.attrs.get('href', '')}⟩"]
    if node.type == "image":
        return [f"[picture: {node.content} ⟨{node.attrs.get('src', '')}⟩]"]
    inner: list[Node] = _children(node, depth) if depth < DEEPEST else ["…"]
    tight = node.type == "paragraph" and node.hidden  # in a list without empty lines
    return [[node.tag, *inner]] if node.tag in TAGS and not tight else inner
