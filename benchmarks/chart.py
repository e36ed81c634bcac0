"""Draws the comparison as bars, in SVG that reads on light and dark pages."""

from xml.sax.saxutils import escape

from benchmarks.compare import REQUESTS, Result

WIDTH, LABELS, BAR, GAP, TOP = 800, 330, 16, 6, 34
COLOURS = {"megapolis": "#0b7a75", "hand-written": "#8a8f98"}
OTHERS = "#c9a227"
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .title { font-weight: 600; }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }"""


def draw(results: dict[str, Result]) -> str:
    """Return the SVG: for each kind of request, one bar of requests per second a server."""
    longest = max(result.rate(request) for result in results.values() for request in REQUESTS)
    scale = (WIDTH - LABELS - 70) / longest
    parts: list[str] = []
    top = 0
    for request in REQUESTS:
        parts.append(_text(0, top + 20, f"{request}, requests per second", kind="title"))
        top += TOP
        ordered = sorted(results.items(), key=lambda item: -item[1].rate(request))
        for name, result in ordered:
            parts += _bar(top, result.title, result.rate(request), scale, _colour(name))
            top += BAR + GAP
        top += GAP
    summary = escape("Requests per second of each server: " + ", ".join(REQUESTS))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">\n'
        f"<title>{summary}</title><style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _bar(top: int, title: str, rate: float, scale: float, colour: str) -> list[str]:
    length = rate * scale
    rectangle = (
        f'<rect x="{LABELS}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>'
    )
    baseline = top + BAR - 3
    value = _text(LABELS + length + 6, baseline, f"{rate:,.0f}")
    return [_text(LABELS - 8, baseline, title, kind="end"), rectangle, value]


def _text(x: float, y: float, content: str, *, kind: str = "") -> str:
    anchor = ' text-anchor="end"' if kind == "end" else ""
    style = ' class="title"' if kind == "title" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{anchor}{style}>{escape(content)}</text>'


def _colour(name: str) -> str:
    return COLOURS.get(name, OTHERS)
