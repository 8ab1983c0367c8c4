"""What authentication costs: the account against the protocol that runs, and against the document's table."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from ceas.authentication import (
    Authenticator,
    FiniteKey,
    KeyPools,
    Profile,
    epoch_hash,
    forgery_bound,
    key_cost,
    run_forgery_bound,
)
from ceas.authentication.costs import LAYOUTS, ROUND_FRAMES, KeyCost, layout_frames
from ceas.errors import DomainError
from ceas.runtime.message_network import message_timing, run_consensus

ALL: tuple[Profile, ...] = ("its128", "its64", "qkd_seeded", "ml_dsa")
OF_KEY = ALL[:3]
DOCUMENT = Path(__file__).parents[2] / "docs" / "keys.md"


def accept_all(value: bytes, proposer: int) -> None:
    """Accept every proposed value."""


def table_row(cost: KeyCost, n_nodes: int, frames: int) -> str:
    """Return a row of the document; pairs to three digits, rounded to nearest."""
    cells = [str(n_nodes), str(cost.n_links), str(frames), f"`{cost.profile}`", f"{cost.bits_per_link:g}"]
    cells += [f"{cost.bits:,.0f}", three_digits(cost.pairs), three_digits(cost.pairs_in_blocks)]
    return f"| {' | '.join([*cells, f'{cost.tag_bytes:,.0f}'])} |"


def three_digits(number: float) -> str:
    return f"{float(f'{number:.3g}'):,.0f}"


def table_rows() -> list[str]:
    return [table_row(key_cost(profile, n), n, ROUND_FRAMES) for n in (4, 10, 50, 100) for profile in ALL]


def layout_rows() -> list[str]:
    rows = []
    for n_nodes in (4, 10, 50, 100):
        for layout in LAYOUTS:
            frames = layout_frames(layout, n_nodes)
            cells = [str(n_nodes), layout, f"{frames:.4g}"]
            for profile in ("its128", "its64"):
                cost = key_cost(profile, n_nodes, frames_per_link=frames)
                cells += [f"{cost.bits:,.0f}", three_digits(cost.pairs), three_digits(cost.pairs_in_blocks)]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def test_the_document_s_table_of_layouts_is_what_the_function_gives() -> None:
    text = DOCUMENT.read_text("utf-8")
    found = re.findall(r"^\| \d+ \| (?:message|step|joined|short|round) \|.*\|$", text, re.MULTILINE)
    assert found == layout_rows()


def test_layouts_count_the_messages_of_the_protocol() -> None:
    """Totals of the protocol written out: n (n - 1) for a broadcast by all, n - 1 for one by the leader."""
    for n, messages, frames in ((4, 171, 99), (10, 2349, 729), (50, 259_749, 19_649), (100, 2_039_499, 79_299)):
        links = n * (n - 1) / 2
        assert layout_frames("message", n) * links == pytest.approx(messages)
        assert layout_frames("step", n) * links == pytest.approx(frames)
        found = [layout_frames(layout, n) for layout in LAYOUTS]
        assert found == sorted(found, reverse=True)
    with pytest.raises(DomainError, match="layout"):
        layout_frames("none", 4)
    with pytest.raises(DomainError, match="n_nodes"):
        layout_frames("step", 3)


def test_signatures_cost_bytes_and_no_key() -> None:
    cost = key_cost("ml_dsa", 10, fidelity=0.3)
    assert (cost.bits, cost.pairs, cost.pairs_in_blocks) == (0, 0, 0)
    assert cost.tag_bytes == 45 * 16 * 2420
    assert [key_cost(profile, 10).tag_bytes_per_link for profile in ALL] == [256, 128, 256, 16 * 2420]


def test_the_document_s_table_is_what_the_function_gives() -> None:
    found = re.findall(r"^\| \d+ \| \d+ \|.*\|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert found == table_rows()


@pytest.mark.parametrize("profile", ["its128", "its64"])
@pytest.mark.parametrize("n_nodes", [4, 10])
def test_a_round_uses_what_the_account_says(n_nodes: int, profile: Profile) -> None:
    """One round with real frames and real tags, and none of it shortened."""
    authenticator = Authenticator(
        KeyPools(n_nodes, enrolled_key_bits=16_384, seed=0),
        profile=profile,
        epoch=epoch_hash(n_nodes=n_nodes, tolerated_byzantine=1, profile=profile, start_digest=bytes(32)),
    )
    before = authenticator.pools.consumed_bits.copy()
    outcome = run_consensus(
        [bytes([node]) * 8 for node in range(n_nodes)],
        training_round=0,
        parameter_digest=bytes(32),
        tolerated_byzantine=1,
        authenticator=authenticator,
        timing=message_timing(np.full((n_nodes, n_nodes), 1e-3), processing_delay_s=1e-3),
        validate=accept_all,
        seed=0,
    )
    used = authenticator.pools.consumed_bits - before
    cost = key_cost(profile, n_nodes)
    # On the leader's links its proposal as well.
    pad_bits = cost.bits_per_link / ROUND_FRAMES
    assert set(used[used > 0].tolist()) == {cost.bits_per_link, cost.bits_per_link + pad_bits}
    assert int(used.sum()) == cost.bits + (n_nodes - 1) * pad_bits
    assert outcome.frames == cost.n_links * ROUND_FRAMES + n_nodes - 1
    assert key_cost(profile, n_nodes, frames_per_link=layout_frames("step", n_nodes)).bits == pytest.approx(used.sum())


def test_figures_of_the_specification() -> None:
    """its128 for 50 nodes and 100 rounds of 16 frames is some 250 Mbit; at F = 0.95, more than 10^8 pairs."""
    cost = key_cost("its128", 50, frames_per_link=16)
    assert cost.bits_per_link == 2048
    assert 100 * cost.bits == 250_880_000
    assert 100 * cost.pairs == pytest.approx(250_880_000 / 0.5783, rel=1e-3)
    assert key_cost("its64", 50, frames_per_link=16).bits_per_link == 1024
    assert 10 * key_cost("qkd_seeded", 4).bits_per_link == 256


@pytest.mark.parametrize("profile", OF_KEY)
def test_blocks_cost_more_and_bad_pairs_give_nothing(profile: Profile) -> None:
    cost = key_cost(profile, 10)
    assert cost.pairs_in_blocks > cost.pairs > cost.bits
    for fidelity in (0.25, 0.8349):
        none = key_cost(profile, 10, fidelity=fidelity)
        assert math.isinf(none.pairs)
        assert math.isinf(none.pairs_in_blocks)
        assert none.bits == cost.bits


def test_the_bound_of_a_run_adds_all_attempts() -> None:
    for profile in ("its128", "qkd_seeded"):
        assert run_forgery_bound(50, 4096, profile) == 50 * 49 * 16 * forgery_bound(4096, profile)
        assert run_forgery_bound(50, 4096, profile) == pytest.approx(2450 * 16 * 8 * 256 / 2**106)
    assert run_forgery_bound(50, 4096, "its64") == 50 * 49 * 4 * forgery_bound(4096, "its64")
    assert run_forgery_bound(50, 4096, "ml_dsa") is None
    assert run_forgery_bound(60_000, 1 << 90, "its128") == 1.0


@pytest.mark.parametrize(
    "arguments",
    [{"n_nodes": 1}, {"frames_per_link": 0}, {"reseed_rounds": 0}, {"fidelity": 0.2}, {"profile": "rot13"}],
)
def test_impossible_questions_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(DomainError, match=next(iter(arguments))):
        key_cost(**({"profile": "its128", "n_nodes": 4} | arguments))  # type: ignore[arg-type]
    with pytest.raises(DomainError):
        run_forgery_bound(1, 10, "its128")


def test_the_document_s_table_of_blocks_is_what_the_formula_gives() -> None:
    found = re.findall(
        r"^\| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE
    )
    assert len(found) == 3
    for row in found:
        size, *bits = (int(cell.replace(",", "")) for cell in row)
        block = FiniteKey(block_pairs=size)
        assert bits == [block.block_bits(w, w) for w in ((4 * f - 1) / 3 for f in (0.9, 0.95, 0.99))]
