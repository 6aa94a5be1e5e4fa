"""Builder of HTML and SVG that escapes all text, so that no value can become markup."""

from collections.abc import Iterable
from html import escape

VOID = frozenset({"br", "hr", "line", "rect", "circle", "path", "meta", "img"})


class Markup(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


Child = str | int | Iterable["Child"]


def tag(name: str, *children: Child, **attributes: object) -> Markup:
    """Return an element. ``class_`` stands for class, other underscores for hyphens; None attributes are omitted."""
    attribute_part = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(attribute_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = join_markup(children)
    return Markup(
        f"<{name}{attribute_part}/>" if name in VOID and not content else f"<{name}{attribute_part}>{content}</{name}>"
    )


def attribute_text(value: object) -> str:
    """Return an attribute's value; floats have at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def join_markup(children: Iterable[Child]) -> Markup:
    """Return the children rendered one after another."""
    return Markup("".join(map(render, children)))


def render(child: Child) -> str:
    """Return markup unchanged, text escaped, and sequences joined."""
    if isinstance(child, Markup):
        return child
    return escape(str(child)) if isinstance(child, str | int) else join_markup(child)
