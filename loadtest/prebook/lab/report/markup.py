"""HTML and SVG by construction: text is escaped wherever it enters, so no value can become markup."""

from collections.abc import Iterable
from html import escape

VOID = frozenset({"br", "hr", "line", "rect", "circle", "path", "meta"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | int | Iterable["Child"]


def tag(name: str, *children: Child, **attributes: object) -> Markup:
    """An element. ``class_`` stands for class, other underscores for hyphens; attributes that are None are left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(attribute_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = join_markup(children)
    return Markup(f"<{name}{given}/>" if name in VOID and not inner else f"<{name}{given}>{inner}</{name}>")


def attribute_text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def join_markup(children: Iterable[Child]) -> Markup:
    return Markup("".join(map(render, children)))


def render(child: Child) -> str:
    if isinstance(child, Markup):
        return child
    return escape(str(child)) if isinstance(child, str | int) else join_markup(child)
