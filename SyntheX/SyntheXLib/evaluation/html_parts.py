"""Pieces of the report's page: tables, panels, coloured marks."""

import html
import re
from collections.abc import Sequence

CIRCLE = '<svg viewBox="0 0 14 14"><circle cx="7" cy="7" r="5" fill="none" stroke="currentColor" stroke-width="1.8"/></svg>'
CROSS = '<svg viewBox="0 0 14 14"><path d="M2 2 12 12M12 2 2 12" stroke="currentColor" stroke-width="2"/></svg>'


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    total: bool = False,
    best: Sequence[tuple[int, int]] = (),
    wrap: bool = False,
) -> str:
    """HTML table; the first cell of a row may hold markup, all others are text.

    Parameters
    ----------
    header, rows
        Texts.
    total
        The last row sums up.
    best
        Row and column of cells in bold.
    wrap
        Cells may take two lines.
    """
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = []
    for n, row in enumerate(rows):
        kind = ' class="total"' if total and n == len(rows) - 1 else ""
        cells = [f"<b>{html.escape(cell)}</b>" if (n, c) in best else html.escape(cell) for c, cell in enumerate(row[1:], 1)]
        lines.append(f"<tr{kind}><td>{row[0]}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    kind = ' class="wrap"' if wrap else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def panel(title: str, *content: str) -> str:
    """A card with a title."""
    return f'<div class="panel"><h3>{html.escape(title)}</h3>{"".join(content)}</div>'


def pair(*panels: str) -> str:
    """Cards side by side where there is room."""
    return f'<div class="pair">{"".join(panels)}</div>'


def remark(text: str) -> str:
    """A paragraph in the background."""
    return f'<p class="soft">{html.escape(text)}</p>'


def swatch(color: tuple[int, int, int]) -> str:
    """A small square of a colour."""
    return f'<i class="swatch" style="background: rgb({color[0]}, {color[1]}, {color[2]})"></i>'


def plain(name: str) -> str:
    """A key as words."""
    return name.replace("_", " ")


def distinct_ids(markup: str, prefix: str) -> str:
    """Put a prefix before all ids and references to them, so that figures of the same kind may stand in one page."""
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}", markup)
