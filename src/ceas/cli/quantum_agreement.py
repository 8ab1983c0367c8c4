"""`ceas qdba`: quantum protocols of agreement against pair fidelity, and what a decision costs."""

from typing import Annotated

import typer

from ceas.cli.arguments import JsonOption, split_names
from ceas.cli.printing import print_json, print_rows
from ceas.errors import DomainError

__all__ = ["qdba"]

_TITLES = {
    "epr": "Detectable agreement from EPR pairs",
    "weak-broadcast": "Weak broadcast from four-qubit states",
    "ghz-coin": "Common coin from GHZ states, fail-stop form",
}
# Largest number of shots of a row: an hour or so for the whole benchmark.
_LARGEST_SHOTS = 100_000_000


def qdba(
    protocol: Annotated[
        str | None, typer.Option("--protocol", metavar="NAME", help="epr, weak-broadcast or ghz-coin; default: all.")
    ] = None,
    *,
    fidelity: Annotated[
        str, typer.Option("--fidelity", metavar="F,F", help="Fidelities of the Werner pairs, each from 0.25 to 1.")
    ] = "0.9,0.95,0.99,1",
    shots: Annotated[
        int, typer.Option("--shots", min=1, max=_LARGEST_SHOTS, help="Instances that are played for each row.")
    ] = 20_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Root seed.")] = 0,
    target: Annotated[
        float, typer.Option("--target", help="Failure probability that sizes are chosen for, between 0 and 1.")
    ] = 1e-3,
    as_json: JsonOption = False,
) -> None:
    """Play quantum agreement protocols with noisy pairs and faulty players, and count the pairs of a decision."""
    fidelities = _numbers(fidelity)
    from ceas.qdba import PROTOCOLS, compare_costs, measure_protocol

    # The cheap part first: it also refuses what cannot be measured.
    costs = compare_costs(fidelities, target=target)
    names = PROTOCOLS if protocol is None else (protocol,)
    tables = {name: measure_protocol(name, fidelities, shots=shots, seed=seed, target=target) for name in names}
    if as_json:
        settings = {"fidelities": fidelities, "shots": shots, "seed": seed, "target": target}
        print_json({**settings, "protocols": tables, "pairs_per_decision": costs})
        return
    for name, rows in tables.items():
        print_rows(rows, title=f"{_TITLES[name]}: {shots} shots a row", is_dense=True)
    print_rows(costs, title=f"Pairs of one decision, for failures of at most {target:g}", is_dense=True)


def _numbers(text: str) -> list[float]:
    """Read `0.9,1`.

    Raises:
        DomainError: There is something else.
    """
    numbers = []
    for name in split_names("--fidelity", text):
        try:
            numbers.append(float(name))
        except ValueError:
            raise DomainError(f"Option `--fidelity` must list numbers from 0.25 to 1, but has {name!r}.") from None
    return numbers
