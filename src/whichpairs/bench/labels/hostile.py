"""Completions that try to break a page that shows them: sixty, by kind."""

import json
from collections.abc import Iterator

_RUN = "window.pwned=1"
_SCRIPTS = (
    f"<script>{_RUN}</script>",
    f"</script><script>{_RUN}</script>",
    f"<img src=x onerror='{_RUN}'>",
    f"<svg onload='{_RUN}'>",
    f"<svg><script>{_RUN}</script></svg>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<iframe src='javascript:parent.pwned=1'></iframe>",
    f"<a href='javascript:{_RUN}' id=x autofocus>click</a>",
    f"<body onload='{_RUN}'>",
    f"<details open ontoggle='{_RUN}'>x</details>",
    f"<input autofocus onfocus='{_RUN}'>",
    f"<video><source onerror='{_RUN}'></video>",
    "<style>@import 'http://elsewhere.example/x.css';body{display:none}</style>",
    "<link rel=stylesheet href=http://elsewhere.example/x.css>",
    "<meta http-equiv=refresh content='0;url=http://elsewhere.example/'>",
    "<base href=http://elsewhere.example/>",
    "<form action=http://elsewhere.example/><button id=answers>x</button></form>",
    "<img src=http://elsewhere.example/pixel.png>",
    f'"><script>{_RUN}</script>',
    f"'-{_RUN}-'",
    f"</textarea><script>{_RUN}</script>",
    f"--><script>{_RUN}</script>",
    f"{{{{constructor.constructor('{_RUN}')()}}}}",
    f"${{{_RUN}}}",
    f"<math><mtext><table><mglyph><style><img src=x onerror='{_RUN}'>",
    f"<noscript><p title=\"</noscript><img src=x onerror='{_RUN}'>\">",
    f"<template><script>{_RUN}</script></template>",
    "&lt;script&gt;window.pwned=1&lt;/script&gt;",
    "<div style='position:fixed;inset:0;background:red'>over all</div>",
    '{"__proto__": {"pwned": 1}}',
)
_MARKDOWN = (
    f"[click](javascript:{_RUN})",
    f"[click](data:text/html,<script>{_RUN}</script>)",
    f'![x](x"onerror="{_RUN})',
    "![x](http://elsewhere.example/pixel.png)",
    "<http://elsewhere.example/>",
    f"```html\n<script>{_RUN}</script>\n```",
    f"[x]: javascript:{_RUN}\n[x]",
    "> " * 500 + "deep",
    "- " * 400 + "deep",
    "[" * 9000,
    "*a_ " * 4000,
    "![[" * 5000,
    "|a" * 400 + "\n" + "|-" * 400 + "\n" + ("|b" * 400 + "\n") * 12,
    "# " + "wide" * 3000,
    "`" * 15_000,
)
_TEXTS = (
    "x" * 1_000_000,
    "word " * 200_000,
    "x" + "\n" * 50_000 + "y",
    "a\u0000b\u0000c",
    "\u202eright to left\u202d and back",
    "\u2066\u2067\u2068" * 3000 + "isolated",
    "\u200b" * 20_000 + "zero width",
    "\ufeff\u00ad\u2060\u180e hidden",
    "Z" + "\u0301\u0302\u0303\u0304\u0305" * 400 + "algo",
    "\ufffd\ufffe\uffff broken \ufdd0",
    "\x1b[2J\x1b[31m\x07\x08\x7f terminal",
    "\U000e0041\U000e0042 tags \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "مرحبا بالعالم " * 300,
    "\t" * 5000 + "end",
    "\u2028\u2029" * 2000 + "lines",
)
HOSTILE: tuple[str, ...] = (*_SCRIPTS, *_MARKDOWN, *_TEXTS)


def names() -> Iterator[str]:
    """A short name for each."""
    for text in HOSTILE:
        yield f"{json.dumps(text[:24])} ({len(text)})"
