"""What a run did, in words and key figures that a person can read."""

from ceas.report.formatting import format_number
from ceas.report.learning_figures import chance_level
from ceas.report.source import Run, known_mean

__all__ = ["mean_attacker_weight", "run_command", "run_figures", "run_summary"]


def _points(difference: float) -> str:
    return f"{format_number(abs(difference) * 100, digits=2)} percentage points"


def _what_was_run(run: Run) -> str:
    result, kind = run.result, run.scenario["topology"]["kind"]
    n_qubits, n_rounds = int(result["circuit"]["qubits"]), int(result["rounds"])
    return (
        f"{format_number(int(result['learners']))} learners on {format_number(len(run.links))} links of the network "
        f"“{kind}” trained one quantum neural network of {format_number(n_qubits)} qubits together for "
        f"{format_number(n_rounds)} rounds, "
        f"{format_number(result['simulated_s'], 's')} of network time. Policy “{result['policy']}” scheduled the "
        f"Bell pairs and rule “{result['method']}” combined the updates."
    )


def _accuracy(run: Run) -> str:
    result, chance = run.result, chance_level(run)
    accuracy, logistic = result["test_accuracy_last5"], result["test_accuracy_logistic"]
    if accuracy is None:
        return "The network was never evaluated on the test samples."
    text = (
        f"It classifies {format_number(result['test_accuracy'], '%')} of the test samples correctly at the end and "
        f"{format_number(accuracy, '%')} on average over the last five evaluations, where chance gives "
        f"{format_number(chance, '%')}"
    )
    if logistic is None:
        return text + "."
    side = "short of" if accuracy < logistic else "above"
    text += f"; this is {_points(accuracy - logistic)} {side} logistic regression on the same features "
    text += f"({format_number(logistic, '%')})."
    separable = result["test_accuracy_separable"]
    if separable is not None:
        text += " A separable circuit, without entanglers and trained without noise, reaches "
        text += f"{format_number(separable, '%')}."
    return text if accuracy > chance else text + " It did not learn: the accuracy is no better than chance."


def _pairs(run: Run) -> str:
    result, fates = run.result, run.result["fates"]
    ended = sum(fates[name] for name in ("learning", "key", "test", "expired", "discarded", "route"))
    if ended == 0:
        return "No Bell pair was used or lost."
    fidelity = result["fidelity_at_use"]["mean"]
    return (
        f"{format_number(int(result['generated_pairs']))} Bell pairs were generated; of these, "
        f"{format_number(result['bell_pair_utilisation'], '%')} were used, at mean fidelity {format_number(fidelity)}; "
        f"{format_number(fates['expired'] / ended, '%')} expired in memory and "
        f"{format_number(fates['discarded'] / ended, '%')} were discarded."
    )


def mean_attacker_weight(run: Run) -> float | None:
    """Return the attackers' total weight, as a mean over the rounds that have one."""
    return known_mean(run.rounds.numbers("byzantine_weight"))


def _attackers(run: Run) -> str:
    byzantine, n_nodes = run.result["byzantine"], len(run.nodes)
    n_attackers = int(byzantine["n"])
    if n_attackers == 0:
        return "All nodes were honest."
    share, weight = n_attackers / n_nodes, mean_attacker_weight(run)
    attack = byzantine["attack"]
    deed = "were malicious but did not attack" if attack == "none" else f"attacked (“{attack}”)"
    text = f"{n_attackers} of {n_nodes} nodes {deed}"
    if weight is not None:
        relation = "more than" if weight > share else "against"
        text += f" and got {format_number(weight, '%')} of the weight on average, "
        text += f"{relation} their {format_number(share, '%')} of the learners"
    tolerated = byzantine["tolerated"]
    if tolerated is not None and n_attackers > tolerated:
        text += f"; they outnumber the {tolerated} that the rule was told to withstand"
    return text + "."


def _keys(run: Run) -> str:
    bits, authentication = run.result["key_bits"], run.result["authentication"]
    consumed, generated, enrolled = (format_number(_whole(bits[key])) for key in ("consumed", "generated", "enrolled"))
    text = f"Authentication consumed {consumed} key bits; pairs yielded {generated} and {enrolled} were enrolled."
    unsent, rejected = authentication["starved_frames"], authentication["rejected_frames"]
    n_starved = int((run.links.numbers("starved") > 0).sum())
    if unsent:
        text += f" {format_number(unsent)} messages stayed unsent for want of key."
    if n_starved:
        text += f" {format_number(n_starved)} of {format_number(len(run.links))} links ran short of key at least once."
    text += f" {format_number(rejected)} messages were rejected." if rejected else ""
    unconcluded = run.result["consensus"].get("rounds_unconcluded")
    if unconcluded:
        text += f" {format_number(unconcluded)} rounds ended without a conclusion, so without a step."
    paused = run.result["consensus"].get("rounds_paused")
    if paused:
        text += f" {format_number(paused)} rounds were paused until there was key again."
    return text


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def run_summary(run: Run) -> str:
    """Return one paragraph: what was run, how well it learned, what became of pairs, attackers and keys."""
    return " ".join((_what_was_run(run), _accuracy(run), _pairs(run), _attackers(run), _keys(run)))


def run_command(run: Run) -> str:
    """Return the command that repeats a run; one started from Python repeats from the scenario in its directory."""
    return str(run.result["command"]) or f"ceas run scenario.toml --seed {run.result['seed']}"


def run_figures(run: Run) -> list[tuple[str, str, str]]:
    """Return the key figures: name, value and remark."""
    result, bits = run.result, run.result["key_bits"]
    used = sum(result["fates"][name] for name in ("learning", "key", "test")) + result["routes"]["pairs_used"]
    last_five = format_number(result["test_accuracy_last5"], "%")
    return [
        ("Test accuracy", format_number(result["test_accuracy"], "%"), f"last five: {last_five}"),
        ("Utilisation", format_number(result["bell_pair_utilisation"], "%"), "of generated pairs"),
        ("Delivered value", format_number(result["delivered_value"]), ""),
        ("Bell pairs", format_number(int(result["generated_pairs"])), f"{format_number(int(used))} used"),
        ("Shots", format_number(int(result["shots"])), ""),
        ("Key bits", format_number(_whole(bits["generated"])), f"{format_number(_whole(bits['consumed']))} used"),
        ("Wall time", format_number(result["wall_s"], "s"), f"compiling: {format_number(result['compile_s'], 's')}"),
    ]
