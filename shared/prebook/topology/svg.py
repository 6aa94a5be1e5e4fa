"""SVG shapes of the diagrams. All lengths are in SVG user units."""

from collections.abc import Iterable
from html import escape

STYLE = """
.paper{fill:#fff;stroke:#d5dbe3}.lane{fill:#f6f8fa;stroke:#dfe5ec}.service{fill:#1f4e79;stroke:#173a5a}
.queue{fill:#e3f1e6;stroke:#3b8551;stroke-width:1.4}.queue.lid{fill:none}.exchange{fill:#fdf0d9;stroke:#b7791f;stroke-width:1.4}
text{font-family:system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#1c2733}
.h1{font-size:21px;font-weight:650}.h2{font-size:13px;font-weight:650}.sub{font-size:13px;fill:#566374}
.name{font-size:14px;font-weight:600;fill:#fff}.stop{font-size:11.5px}.label{font-size:11.5px;fill:#3f4c5b}
.key{font-size:12px;fill:#3f4c5b}.line{stroke:#3f4c5b;stroke-width:1.7;fill:none}.pulled{stroke-dasharray:6 4}
.tip{fill:#3f4c5b}
@media (prefers-color-scheme:dark){
.paper{fill:#10161d;stroke:#2b3642}.lane{fill:#171f28;stroke:#2b3642}.service{fill:#3474ad;stroke:#5b97cb}
.queue{fill:#15301d;stroke:#5fb37a}.exchange{fill:#37290f;stroke:#d9a03f}text{fill:#e6ecf2}.sub{fill:#9fb0c1}
.label,.key{fill:#b9c6d3}.line{stroke:#b9c6d3}.tip{fill:#b9c6d3}}
""".strip()
ARROWHEAD_LENGTH = 8
"""Length of an arrow's head."""


def document(
    width: float, height: float, title: str, description: str, body: Iterable[str], *, embedded: bool = False
) -> str:
    """Return an SVG document with a title and a description for screen readers.

    ``embedded``: leave out style and ids, for a page that has a style of its own and several drawings.
    """
    paper = box(0.5, 0.5, width - 1, height - 1, "paper", radius=10)
    size = f'viewBox="0 0 {_number(width)} {_number(height)}"'
    if embedded:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="group" aria-label="{escape(title, quote=True)}">'
        return "\n".join([head, f"<desc>{escape(description)}</desc>", paper, *body, "</svg>"]) + "\n"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title description">'
    named = f'<title id="title">{escape(title)}</title><desc id="description">{escape(description)}</desc>'
    return "\n".join([head, named, f"<style>{STYLE}</style>", paper, *body, "</svg>"]) + "\n"


def group(kind: str, name: str, body: Iterable[str]) -> str:
    """Return a part of the diagram that scripts find by its kind and name: ``data-<kind>="<name>"``."""
    return f'<g data-{kind}="{escape(name, quote=True)}">{"".join(body)}</g>'


def box(x: float, y: float, width: float, height: float, css_class: str, *, radius: float = 0) -> str:
    """Return a rectangle with rounded corners."""
    size = f'width="{_number(width)}" height="{_number(height)}"'
    return f'<rect class="{css_class}" x="{_number(x)}" y="{_number(y)}" {size} rx="{_number(radius)}"/>'


def text(x: float, y: float, content: str, css_class: str, *, anchor: str = "start") -> str:
    """Return a line of text; ``anchor``: start, middle or end."""
    return (
        f'<text class="{css_class}" x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}">{escape(content)}</text>'
    )


def arrow(x1: float, x2: float, y: float, *, pulled: bool) -> str:
    """Return a horizontal arrow from ``x1`` to ``x2``, in either direction; dashed if ``pulled``."""
    back = ARROWHEAD_LENGTH if x1 < x2 else -ARROWHEAD_LENGTH
    kind = "line pulled" if pulled else "line"
    line = f'<path class="{kind}" d="M{_number(x1)} {_number(y)}H{_number(x2 - back)}"/>'
    return f'{line}<path class="tip" d="M{_number(x2)} {_number(y)}l{_number(-back)} -4.5v9z"/>'


def queue(x: float, y: float, width: float, height: float, name: str) -> str:
    """Return a queue with its name: a horizontal cylinder."""
    r = height / 6
    right = x + width - r
    bow = f"a{_number(r)} {_number(height / 2)} 0 0 1 0"
    left = _number(x + r)
    top = _number(y)
    body = f"M{left} {top}H{_number(right)}{bow} {_number(height)}H{left}{bow} {_number(-height)}z"
    lid = f"M{_number(right)} {_number(y)}a{_number(r)} {_number(height / 2)} 0 0 0 0 {_number(height)}"
    shape = f'<path class="queue" d="{body}"/><path class="queue lid" d="{lid}"/>'
    return shape + _label(x, y, width, height, name)


def exchange(x: float, y: float, width: float, height: float, name: str) -> str:
    """Return an exchange with its name: a hexagon with vertical sides."""
    d = 10.0
    c = min(height, 32) / 2
    side = height - 2 * c
    flat = width - 2 * d
    right = f"l{_number(d)} {_number(c)}v{_number(side)}l{_number(-d)} {_number(c)}"
    left = f"l{_number(-d)} {_number(-c)}v{_number(-side)}z"
    shape = f"M{_number(x + d)} {_number(y)}h{_number(flat)}{right}h{_number(-flat)}{left}"
    return f'<path class="exchange" d="{shape}"/>' + _label(x, y, width, height, name)


def _label(x: float, y: float, width: float, height: float, name: str) -> str:
    return text(x + width / 2, y + height / 2 + 4, name, "stop", anchor="middle")


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
