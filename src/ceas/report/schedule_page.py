"""The page of a schedule study: scheduling policies side by side on the network alone."""

import math

from ceas.experiments.schedule_study import PolicyResult, ScheduleStudy, errors_of, verdict
from ceas.experiments.statistics import MeanInterval
from ceas.report.figure import figures_markup
from ceas.report.formatting import MISSING, format_number
from ceas.report.markup import Markup, join, tag
from ceas.report.page import command_block, contents, document, key_figures, page_header
from ceas.report.schedule_figures import (
    fates_figure,
    frontier_figure,
    lives_comparison,
    maps_figure,
    parameter_text,
    waits_figure,
    with_half,
)
from ceas.report.tables import Cell, number_cell, sortable_table, text_cell

__all__ = ["schedule_page"]

# Heading, metric, unit and significant digits of the columns after the difference.
_COLUMNS = (
    ("fidelity at use", "fidelity_at_use_mean", "", 4),
    ("5 % quantile", "fidelity_at_use_p05", "", 3),
    ("keys served", "keys_served", "%", 3),
    ("shots served", "shots_served", "%", 3),
    ("shot waits", "shot_wait_mean_s", "s", 3),
    ("99 %", "shot_wait_p99_s", "s", 3),
    ("key waits", "key_wait_mean_s", "s", 3),
    ("99 %", "key_wait_p99_s", "s", 3),
    ("fairness", "learner_fairness", "", 3),
    ("pairs", "generated", "", 4),
)


def _interval_cell(interval: MeanInterval, unit: str, digits: int, style: str = "") -> Cell:
    key = repr(interval.mean) if math.isfinite(interval.mean) else ""
    return Cell(shown=with_half(interval, unit, digits=digits), key=key, style=style)


def _difference_cells(study: ScheduleStudy, policy: PolicyResult) -> list[Cell]:
    gain = study.gain(policy)
    if gain is None:
        shown = MISSING if study.best_baseline(is_thrifty=False) is None else "best"
        return [Cell(shown=shown, key="0"), Cell(shown="", key="0")]
    baseline, difference = gain
    share = difference.mean / (baseline.mean("value_per_round") or math.nan)
    written = Cell(shown=format_number(share, "%", decimals=2), key=repr(share))
    return [written, number_cell(errors_of(difference))]


def _policy_table(study: ScheduleStudy) -> Markup:
    rows = []
    for policy in study.by_value():
        style = "best" if policy.policy == study.protagonist else ""
        row = [text_cell(policy.label, style), number_cell(policy.mean("utilisation"), "%")]
        row.append(_interval_cell(policy.interval("value_per_round"), "", 4))
        row += [_interval_cell(policy.interval("fraction_of_bound"), "%", 3)] if study.has_bound else []
        row += _difference_cells(study, policy)
        rows.append(row + [_interval_cell(policy.interval(metric), unit, d) for _, metric, unit, d in _COLUMNS])
    bound = ["of the bound"] if study.has_bound else []
    heads = ["policy", "used", "value a round", *bound, "to best", "in s.e."]
    caption = (
        "Means over seeds ± half of the 95 % confidence interval (Student's t); the difference to the best "
        "baseline is paired by seed, and s.e. is its standard error; what uses at least 90 % of its pairs is compared "
        "with baselines that do, all else with any. Waiting times are means and 99 % quantiles."
    )
    return sortable_table([*heads, *(head for head, *_ in _COLUMNS)], rows, caption=caption)


def _parts_table(study: ScheduleStudy) -> Markup:
    """Return the delivered value by what it went to, and the pairs by fate, each a round."""
    fates: tuple[str, ...] = ("learning", "key", "test", "expired", "discarded")
    uses = ["learning", "key", "test"]
    value_heads = ["value to learning", "to keys", "to tests"]
    if _has_traffic(study):
        uses.append("background")
        value_heads.append("to background traffic")
        fates = (*fates, "route")
    rows = []
    for policy in study.by_value():
        values = [policy.mean(f"value_{name}") / study.rounds for name in uses]
        pairs = [policy.mean(fate) / study.rounds for fate in fates]
        numbers = [*values, policy.mean("shots") / study.rounds, *pairs]
        rows.append([text_cell(policy.label), *(number_cell(number, digits=4) for number in numbers)])
    heads = ["policy", *value_heads, "shots", "pairs used to learn", *fates[1:]]
    return sortable_table(
        heads, rows, caption=f"Where value and pairs went: a round, means over seeds; key to {fates[-1]} count pairs."
    )


def _has_traffic(study: ScheduleStudy) -> bool:
    """Tell whether anybody asked for end-to-end pairs that are no part of the training."""
    return any(math.isfinite(policy.mean("background_served")) for policy in study.policies)


def _trial_table(study: ScheduleStudy) -> Markup:
    rows = []
    for policy, trial in study.tried():
        style = "best" if trial.is_chosen else ""
        numbers = [
            number_cell(trial.utilisation, "%", style=style),
            number_cell(trial.value_per_round, style=style, digits=4),
            *([number_cell(trial.fraction_of_bound, "%", style=style)] if study.has_bound else []),
        ]
        chosen = text_cell("chosen" if trial.is_chosen else "", style)
        rows.append([text_cell(policy.policy, style), text_cell(parameter_text(trial.parameters), style), *numbers])
        rows[-1].append(chosen)
    bound = ["of the bound"] if study.has_bound else []
    heads = ["policy", "parameters", "pairs used", "value a round", *bound, ""]
    caption = (
        f"What tuning tried in {study.tuning_rounds} rounds on two seeds of their own, as often for every policy. "
        "Chosen (bold) are the parameters that deliver most, and if those use less than 90 % of the pairs, the best of "
        "those that use more as well."
    )
    return sortable_table(heads, rows, caption=caption)


def _parameters(study: ScheduleStudy) -> Markup:
    """Return the parameters that runs had, for a study without tuning."""
    rows = [[text_cell(one.label), text_cell(parameter_text(one.parameters))] for one in study.by_value()]
    return sortable_table(["policy", "parameters"], rows, caption="Parameters; nothing was tuned.")


def _key_figures(study: ScheduleStudy) -> list[tuple[str, str, str]]:
    contest = study.main_contest
    ours, baseline, difference = contest.ours, contest.baseline, contest.difference
    figures = []
    if baseline is not None and difference is not None:
        share = difference.mean / (baseline.mean("value_per_round") or math.nan)
        sign = "+" if share > 0 else ""
        figures.append(("Value", sign + format_number(share, "%"), f"against {baseline.label}"))
        figures.append(("In s.e.", format_number(errors_of(difference)), "paired difference"))
    compared = [ours, *([baseline] if baseline else [])]
    if study.has_bound:
        figures += [("Of the bound", format_number(one.mean("fraction_of_bound"), "%"), one.label) for one in compared]
    figures += [("Pairs used", format_number(one.mean("utilisation"), "%"), one.label) for one in compared]
    fidelity = format_number(ours.mean("fidelity_at_use_mean"))
    figures.append(("Fidelity at use", fidelity, f"5 %: {format_number(ours.mean('fidelity_at_use_p05'))}"))
    return figures


def _how(study: ScheduleStudy) -> str:
    others = "learning, keys, tests and background traffic" if _has_traffic(study) else "learning, keys and tests"
    text = f" Value is what pairs deliver to {others}; all policies met the same links, demands and random numbers"
    if study.tuning_rounds:
        text += ", and each was tuned with the same number of trials on seeds that no reported run uses"
    return text + "."


def schedule_page(study: ScheduleStudy) -> str:
    """Return the page of a schedule study; it depends on its files alone."""
    made = (
        frontier_figure(study),
        fates_figure(study),
        maps_figure(study),
        lives_comparison(study),
        waits_figure(study),
    )
    figures = [figure for figure in made if figure is not None]
    entries = [
        ("policies", "Policies"),
        *((figure.anchor, figure.heading) for figure in figures),
        ("tuning", "Parameters"),
        ("scenario", "Scenario"),
    ]
    facts = [
        ("rounds", format_number(study.rounds)),
        ("seeds", format_number(len(study.seeds))),
        ("tuning rounds", format_number(study.tuning_rounds)),
        ("bound over", f"{format_number(study.bound_rounds)} rounds" if study.has_bound else "no rounds"),
        ("network", study.scenario.network_id),
        ("ceas", study.ceas_version),
    ]
    header = page_header(
        "Scheduling policies on the network alone",
        f"{study.scenario.name}: {format_number(len({one.policy for one in study.policies}))} policies",
        facts,
        tag("p", verdict(study) + _how(study), class_="summary"),
        key_figures(_key_figures(study)),
        command_block([study.command], introduction="The same numbers again:") if study.command else Markup(""),
        contents(entries),
    )
    policies = tag("section", tag("h2", "Policies"), _policy_table(study), _parts_table(study), id="policies")
    tuning = _trial_table(study) if study.tuning_rounds else _parameters(study)
    text = tag("details", tag("summary", "Complete scenario, as run"), tag("pre", study.scenario.to_toml(), tabindex=0))
    scenario = tag("section", tag("h2", "Scenario"), text, id="scenario")
    body = join(
        (policies, figures_markup(figures), tag("section", tag("h2", "Parameters"), tuning, id="tuning"), scenario)
    )
    return document(f"{study.scenario.name}: scheduling policies", header, body, version=study.ceas_version)
