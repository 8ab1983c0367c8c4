"""HTML and SVG elements that are escaped by construction."""

import html
from collections.abc import Iterable

__all__ = ["Markup", "join", "tag"]

_VOID = frozenset({"meta", "br", "hr", "input"})
_SELF_CLOSING = frozenset({"path", "line", "rect", "circle", "polyline", "stop"})


class Markup(str):
    """Text that is safe to place in a page; every other text is escaped when it becomes a child."""

    __slots__ = ()


def _child(child: object) -> str:
    return child if isinstance(child, Markup) else html.escape(str(child))


def _number(value: float) -> str:
    # Two decimals of a pixel are invisible, and they keep the page short.
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _attribute(name: str, value: object) -> str:
    text = _number(float(value)) if isinstance(value, float) else str(value)
    return f' {name.rstrip("_").replace("_", "-")}="{html.escape(text, quote=True)}"'


def _is_given(value: object) -> bool:
    return value is not None and value is not False


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return one element; children that are not `Markup` are escaped, and so are all attributes.

    Args:
        name: Element name.
        *children: Texts and elements, in order.
        **attributes: Attributes; `_` in a name stands for `-`, a trailing `_` is dropped (`class_`), and an
            attribute whose value is None or False is left out. Floats are written with two decimals.
    """
    inside = "".join(_attribute(key, value) for key, value in attributes.items() if _is_given(value))
    if name in _VOID:
        return Markup(f"<{name}{inside}>")
    if name in _SELF_CLOSING and not children:
        return Markup(f"<{name}{inside}/>")
    return Markup(f"<{name}{inside}>{''.join(map(_child, children))}</{name}>")


def join(parts: Iterable[object], separator: str = "") -> Markup:
    """Return the parts one after another as markup; parts that are not `Markup` are escaped."""
    return Markup(separator.join(map(_child, parts)))
