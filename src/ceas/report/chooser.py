"""Charts of which the reader chooses which to see; without scripts, and in print, the first are shown."""

from collections.abc import Sequence

from ceas.report.markup import Markup, tag

__all__ = ["chooser"]


def chooser(label: str, choices: Sequence[tuple[str, Sequence[Markup]]]) -> Markup:
    """Return groups of charts in two columns with a menu of their names above; the first group is shown.

    Args:
        label: What is chosen, in front of the menu.
        choices: Name and charts of each group.
    """
    options = (tag("option", name, value=str(index)) for index, (name, _) in enumerate(choices))
    menu = tag("label", f"{label} ", tag("select", *options), class_="menu", hidden="hidden")
    groups = (
        tag(
            "div",
            tag("p", f"{label} ", tag("b", name), class_="chosen"),
            tag("div", *charts, class_="panels"),
            class_="choice",
            hidden="hidden" if index else None,
        )
        for index, (name, charts) in enumerate(choices)
    )
    return tag("div", menu, *groups, class_="chooser")
