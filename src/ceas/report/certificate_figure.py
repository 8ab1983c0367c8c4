"""The certificate of a run: the bound on its squared gradient beside what was measured, and the rule's kappa."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas.report.figure import Figure
from ceas.report.formatting import format_number
from ceas.report.line_chart import Reference, Series, line_chart
from ceas.report.markup import Markup
from ceas.report.palette import BLUE, INK, ORANGE
from ceas.report.source import Run

__all__ = ["certificate_figure"]

_VERDICTS = {
    "certified": "The bound is certified: the rule's error within a round is bounded for whatever could be sent; all "
    "else was measured on this run's path.",
    "estimated": "The bound is an estimate",
    "refused": "No bound is certified",
}


def certificate_figure(run: Run) -> Figure | None:
    """Return the figure; None for runs of earlier versions and those that measured nothing."""
    found = run.certificate
    if found is None or not found["curves"]["round"]:
        return None
    bound = (
        " and its bound; it begins with the distance to the best loss that could be and falls to what noise and the "
    )
    bound += "spread of the honest updates leave to attackers"
    return Figure(
        anchor="certificate",
        heading="Certificate of convergence",
        caption=f"{_verdict(found)} Left, the mean over the steps so far of the squared gradient of the honest "
        f"learners' loss, exact and without noise{bound if _has_bound(found) else ''}. Right, how far the rule was "
        "moved from the honest mean, squared, over the spread of the honest updates, which kappa bounds.",
        charts=(_bound_chart(found), _kappa_chart(found)),
    )


def _has_bound(found: Mapping[str, Any]) -> bool:
    return bool(np.isfinite(_numbers(found["curves"]["bound"])).any())


def _verdict(found: Mapping[str, Any]) -> str:
    text, reasons = _VERDICTS[found["status"]], "; ".join(found["reasons"])
    if found["status"] != "certified":
        text = f"{text}: {reasons}."
    if found["holds"] is None:
        return text
    if found["holds"]:
        return f"{text} It holds at every step, and {_at_the_end(found)}."
    told = [*found["contradicted"], *(["it is exceeded"] if found["exceeded_at_steps"] else [])]
    return f"{text} It is VIOLATED: {'; '.join(told)}."


def _at_the_end(found: Mapping[str, Any]) -> str:
    return f"the measured mean ends at {format_number(found['looseness'], '%')} of it"


def _bound_chart(found: Mapping[str, Any]) -> Markup:
    curves = {name: _numbers(values) for name, values in found["curves"].items()}
    series = [Series(label="measured", x=curves["round"], values=curves["measured"], colour=BLUE)]
    if _has_bound(found):
        bound = Series(label="bound", x=curves["round"], values=curves["bound"], colour=ORANGE, kind="dash")
        series.insert(0, bound)
    return line_chart(series, title="Mean squared gradient (log scale)", is_log=True)


def _kappa_chart(found: Mapping[str, Any]) -> Markup:
    measured = found["measurements"]
    series = [Series(label="measured", x=_numbers(measured["round"]), values=_numbers(measured["kappa"]), colour=BLUE)]
    kappa = found["constants"]["kappa"]
    references = []
    if kappa["side"] == "upper" and kappa["value"] is not None:
        label = f"proved {format_number(kappa['value'])}"
        references.append(Reference(label=label, level=kappa["value"], kind="dash", colour=INK, end="end"))
    return line_chart(series, title="Kappa of each round (log scale)", references=references, is_log=True)


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    """Return numbers of a file, NaN where it has none."""
    return np.array(values, np.float64)
