"""The frame of every page: one file that needs nothing else, and is the same whenever it is made again."""

from collections.abc import Sequence
from importlib.resources import files

from ceas.report.markup import Markup, join, tag

__all__ = ["command_block", "document", "key_figures", "page_header"]

# The page cannot load anything, whatever a scenario's text may hold: the policy forbids it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def _resource(name: str) -> Markup:
    return Markup(files("ceas.report").joinpath(name).read_text(encoding="utf-8"))


def command_block(commands: Sequence[str], *, introduction: str) -> Markup:
    """Return commands to copy, one block each."""
    rows = (
        tag("div", tag("code", command), tag("button", "Copy", type="button", class_="copy", hidden="hidden"))
        for command in commands
    )
    return tag("div", tag("p", introduction), *rows, class_="command")


def key_figures(figures: Sequence[tuple[str, str, str]]) -> Markup:
    """Return a strip of figures, each with a name, a value and a remark that may be empty."""
    cells = (
        tag("div", tag("dt", name), tag("dd", value), tag("dd", remark) if remark else "")
        for name, value, remark in figures
    )
    return tag("dl", *cells, class_="strip")


def page_header(kicker: str, title: str, meta: Sequence[tuple[str, str]], *blocks: Markup) -> Markup:
    """Return the head of a page: what it is, its title, facts in a line, and blocks."""
    facts = join((join((f"{name} ", tag("b", value))) for name, value in meta), " · ")
    head = (tag("p", kicker, class_="kicker"), tag("h1", title), tag("p", facts, class_="meta"))
    return tag("header", *head, *blocks)


def contents(entries: Sequence[tuple[str, str]]) -> Markup:
    """Return links to the sections of a page, given as (fragment, name)."""
    return tag("nav", *(tag("a", name, href=f"#{anchor}") for anchor, name in entries), aria_label="Contents")


def document(title: str, header: Markup, body: Markup, *, version: str) -> str:
    """Return the text of a whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", _resource("page.css")),
    )
    footer = tag("p", f"Made by ceas {version} from the result files alone; making it again gives the same page.")
    script = tag("script", _resource("page.js"))
    return (
        "<!DOCTYPE html>\n"
        + tag("html", head, tag("body", header, tag("main", body), tag("footer", footer), script), lang="en")
        + "\n"
    )
