"""A self-contained page: pictures inside, no scripts, nothing fetched, prints well.

All text passes through `html.escape`; only the functions here make markup.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DOTS_PER_INCH = 150

_STYLE = """
:root { --ink: #1c2430; --quiet: #5b6675; --line: #d8dde4; --wash: #f5f7f9; --page: white; --blue: #0072b2;
  --loud: #fff1d6; --loud-ink: #7a4b00; --good: #e2f3ec; --good-ink: #00553e; --bad: #fbe6dc; --bad-ink: #7a3000; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --quiet: #a3adba; --line: #3a434f;
  --wash: #232a33; --page: #161b21; --blue: #56b4e9; --loud: #4a3508; --loud-ink: #ffd48a; --good: #0d3b2d;
  --good-ink: #8fe0c2; --bad: #4d2410; --bad-ink: #ffb999; }
  figure img { border-radius: .4rem; filter: brightness(.9); } }
* { box-sizing: border-box; }
html { color-scheme: light dark; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 68rem; color: var(--ink); background: var(--page);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.75rem; margin: .2rem 0 .4rem; line-height: 1.2; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
p { max-width: 46rem; margin: .5rem 0; }
p.lead { font-size: 1.1rem; color: var(--quiet); margin-top: 0; }
p.answer { font-size: 1.1rem; border-left: 5px solid var(--blue); padding: .1rem 0 .1rem 1rem; margin: 1rem 0; }
p.over { max-width: none; color: var(--quiet); font-size: .85rem; letter-spacing: .02em; }
.badge { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; font-weight: 600; font-size: .8rem;
  background: var(--wash); border: 1px solid var(--line); margin-right: .4rem; }
.badge.loud { background: var(--loud); border-color: #e69f00; color: var(--loud-ink); }
.badge.good { background: var(--good); border-color: #009e73; color: var(--good-ink); }
.badge.bad { background: var(--bad); border-color: #d55e00; color: var(--bad-ink); }
.banner, .alarm { background: var(--loud); border-left: 5px solid #e69f00; padding: .6rem 1rem; margin: 1rem 0;
  max-width: none; break-inside: avoid; }
.alarm { background: var(--bad); border-color: #d55e00; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.4rem, 1fr)); gap: .6rem; margin: 1.2rem 0; }
.fact { background: var(--wash); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem;
  break-inside: avoid; }
.fact b { display: block; font-size: 1.05rem; line-height: 1.3; }
.fact span { color: var(--quiet); font-size: .82rem; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; align-items: start; }
figure { margin: .6rem 0; break-inside: avoid; }
figure img { width: 100%; height: auto; display: block; background: white; }
figure.small { max-width: 42rem; }
.row figure.small { max-width: none; }
figcaption { color: var(--quiet); font-size: .85rem; margin-top: .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--quiet); font-weight: 600; }
td.number, th.number { text-align: right; }
td.number, td.whole { white-space: nowrap; }
tr { break-inside: avoid; }
thead { display: table-header-group; }
details { margin: .6rem 0; }
summary { cursor: pointer; color: var(--blue); }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: .4rem; padding: .7rem .9rem;
  font-size: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { @page { margin: 14mm; } html { font-size: 11px; } body { padding: 0; max-width: none; font-size: 11px; }
  h2 { break-after: avoid; } .row { grid-template-columns: 1fr 1fr; } .wide { overflow: visible; }
  p, p.lead, p.answer { max-width: none; orphans: 3; widows: 3; } figure.small { max-width: 130mm; }
  .badge, .banner, .alarm, .fact, pre { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
@media (max-width: 40rem) { body { padding: 1rem .8rem 3rem; } .row { grid-template-columns: 1fr; } }
"""


def page(name: str, parts: Iterable[str]) -> str:
    """Return the whole document."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}</title><style>{_STYLE}</style></head>\n<body>\n{chr(10).join(parts)}\n</body></html>\n"
    )


def text(words: str, kind: str = "") -> str:
    """Return a paragraph."""
    return f'<p class="{kind}">{escape(words)}</p>' if kind else f"<p>{escape(words)}</p>"


def title(words: str) -> str:
    """Return the heading of the page."""
    return f"<h1>{escape(words)}</h1>"


def heading(words: str) -> str:
    """Return the heading of a section."""
    return f"<h2>{escape(words)}</h2>"


def badge(words: str, tone: str = "") -> str:
    """Return a word in a coloured pill; `tone` is `good`, `bad`, `loud` or nothing."""
    return f'<span class="badge {tone}">{escape(words)}</span>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return large values over their small names."""
    cells = "".join(
        f'<div class="fact"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in pairs
    )
    return f'<div class="facts">{cells}</div>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (), whole: Sequence[int] = ()
) -> str:
    """Return a table; `numbers` lists the columns that are set to the right, `whole` those kept on one line."""
    kinds = ["number" if i in numbers else "whole" if i in whole else "" for i in range(len(head))]
    return (
        f'<div class="wide"><table><thead>{_cells("th", head, kinds)}</thead>'
        f"<tbody>{''.join(_cells('td', row, kinds) for row in rows)}</tbody></table></div>"
    )


def folded(words: str, parts: Iterable[str]) -> str:
    """Return parts that are shown when a person opens them; on paper only the words stand."""
    return f"<details><summary>{escape(words)}</summary>{''.join(parts)}</details>"


def listing(words: str) -> str:
    """Return text as it stands, in a monospaced box."""
    return f"<pre>{escape(words)}</pre>"


def picture(figure: Figure, caption: str, small: bool = False) -> str:
    """Return a figure as an embedded PNG with its caption; the caption is also its text for screen readers."""
    FigureCanvasAgg(figure)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DOTS_PER_INCH)
    data = base64.b64encode(png.getvalue()).decode("ascii")
    kind = ' class="small"' if small else ""
    return (
        f'<figure{kind}><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def row(parts: Iterable[str]) -> str:
    """Return parts side by side where the page is wide enough."""
    return f'<div class="row">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def _cells(tag: str, cells: Sequence[str], kinds: Sequence[str]) -> str:
    marks = (f' class="{kind}"' if kind else "" for kind in kinds)
    return (
        f"<tr>{''.join(f'<{tag}{mark}>{escape(cell)}</{tag}>' for mark, cell in zip(marks, cells, strict=True))}</tr>"
    )
