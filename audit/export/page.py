"""HTML in which text can only ever be text: whatever is not an `Element` is escaped when it enters one."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from audit.export.plain import visible

MOST_TEXT = 100_000
STYLE: Final = """
body{font:15px/1.5 Georgia,serif;color:#221f1a;background:#fdfbf6;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1,h2{font-weight:normal}h2{border-bottom:1px solid #c9bfa8;margin-top:2rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;
border-bottom:1px solid #e7dfcd;overflow-wrap:anywhere}thead th{color:#6b6252;font-weight:normal}
td,pre{white-space:pre-wrap}pre{overflow-wrap:anywhere;background:#f4efe2;padding:.8rem}del{color:#8a6d5a}
.warning{border-left:4px solid #9a3b1e;padding-left:.8rem}
@media print{body{margin:0;max-width:none;background:#fff}tr,pre{break-inside:avoid}}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode("ascii")
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Element:
    """Finished markup; made by `tag` and `document` alone."""

    markup: str


def tag(name: str, *children: str | Element, role: str = "") -> Element:
    """An element of a name and class from our own code; children that are text are escaped, cut and made visible."""
    inner = "".join(child.markup if isinstance(child, Element) else _text(child) for child in children)
    named = f' class="{html.escape(role)}"' if role else ""
    own = "\n" if name == "pre" else ""  # a reader drops the first line break of a pre, which else would be the text's
    return Element(f"<{name}{named}>{own}{inner}</{name}>")


def _text(text: str) -> str:
    return html.escape(visible(text, MOST_TEXT))


def facts(rows: Iterable[tuple[str, object]]) -> Element:
    """A table of names and values."""
    return tag("table", tag("tbody", *(tag("tr", tag("th", name), tag("td", _cell(value))) for name, value in rows)))


def table(names: Iterable[str], rows: Iterable[Iterable[object]]) -> Element:
    """A table with a heading for each column."""
    body = (tag("tr", *(tag("td", _cell(value)) for value in row)) for row in rows)
    return tag("table", tag("thead", tag("tr", *(tag("th", name) for name in names))), tag("tbody", *body))


def _cell(value: object) -> str | Element:
    return value if isinstance(value, Element) else "" if value is None else str(value)


def document(title: str, *children: Element) -> bytes:
    """A whole page: one file, no script, nothing fetched, styles inline and the only ones allowed."""
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">'
        '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">'
        f"<title>{_text(title)}</title><style>{STYLE}</style>"
    )
    body = "\n".join(child.markup for child in children)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'.encode()
