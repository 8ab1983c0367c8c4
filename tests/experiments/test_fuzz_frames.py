"""`ceas fuzz frames`: no forgery passes, and a receiver that lets one pass is found and replayed."""

import json
from collections import Counter
from typing import Any

import pytest
from typer.testing import CliRunner

from ceas.authentication import PROFILES, Profile, RejectionReason
from ceas.authentication.authenticator import Authenticator
from ceas.authentication.profiles import OneTimePads, RefreshedSeeds, Signatures
from ceas.cli import app
from ceas.experiments.fuzz_frames import CHANGED_FRAMES, DRAWN_FRAMES, fuzz_frames, run_frame_batch

ALL: tuple[Profile, ...] = ("its128", "its64", "qkd_seeded", "ml_dsa")


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["fuzz", "frames", *arguments])


@pytest.mark.parametrize("profile", ALL)
def test_no_forgery_is_accepted_and_every_correct_frame_is(profile: Profile) -> None:
    """Of a true 64-bit tag, 10^6 guesses hit with 6e-14; the full size is in the slow test."""
    batches = [run_frame_batch(seed, profile) for seed in range(2)]
    assert [batch.accepted for batch in batches] == [()] * 2
    assert all(batch.n_correct == 8 for batch in batches)
    reasons: Counter[str] = Counter()
    for batch in batches:
        assert sum(batch.rejected.values()) == DRAWN_FRAMES + CHANGED_FRAMES
        reasons.update(batch.rejected)
    # Most of what is drawn gets as far as the tag, and no link is closed, behind which all would be refused unseen.
    assert reasons[RejectionReason.BAD_TAG] > 2 * DRAWN_FRAMES / 2
    assert RejectionReason.LINK_CLOSED not in reasons
    expected = {
        *(RejectionReason.MALFORMED, RejectionReason.WRONG_VERSION, RejectionReason.WRONG_EPOCH),
        *(RejectionReason.WRONG_SOURCE, RejectionReason.WRONG_DESTINATION, RejectionReason.WRONG_TRAINING_ROUND),
    }
    assert expected <= set(reasons)


def test_batches_repeat() -> None:
    assert run_frame_batch(3, "its64") == run_frame_batch(3, "its64") != run_frame_batch(4, "its64")


def test_the_command_prints_counts() -> None:
    done = call("--batches", "1", "--seed", "2", "--profile", "its64,its128", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["batches"], found["first_seed"], found["wrongly_handled"], found["failed_seeds"]) == (1, 2, 0, [])
    assert found["drawn_frames"] == 2 * DRAWN_FRAMES
    assert found["changed_frames"] == 2 * CHANGED_FRAMES
    assert [row["profile"] for row in found["profiles"]] == ["its128", "its64"]
    assert all(row["correct_frames_accepted"] == 8 for row in found["profiles"])
    assert found["profiles"][1]["rejected"] == run_frame_batch(2, "its64").rejected


def half_a_tag(self: OneTimePads, source: int, destination: int, sequence: int, data: bytes) -> bool:
    return self.make(source, destination, sequence, data[:-8])[:1] == data[-8:][:1]


def without_body(self: OneTimePads, source: int, destination: int, sequence: int, data: bytes) -> bool:
    return bool(self.make(source, destination, sequence, data[:-8]) == data[-8:]) or len(data) % 5 == 0


def forgetful(self: Authenticator, lane: int, sequence: int) -> None:
    """Burn nothing."""


def any_round(self: RefreshedSeeds, source: int, destination: int, sequence: int, data: bytes) -> bool:
    return data[49] % 16 == 0


def any_signature(self: Signatures, source: int, destination: int, sequence: int, data: bytes) -> bool:
    return data[-2420] == 0x80


@pytest.mark.parametrize(
    ("profile", "place", "mistake", "text"),
    [
        ("its64", (OneTimePads, "check"), half_a_tag, "drawn"),
        ("its64", (OneTimePads, "check"), without_body, "drawn"),
        ("its128", (Authenticator, "_burn"), forgetful, "twice"),
        ("qkd_seeded", (RefreshedSeeds, "check"), any_round, "drawn"),
        ("ml_dsa", (Signatures, "check"), any_signature, "drawn"),
    ],
)
def test_a_careless_receiver_is_found_and_replayed(
    monkeypatch: pytest.MonkeyPatch, profile: Profile, place: tuple[type, str], mistake: Any, text: str
) -> None:
    monkeypatch.setattr(*place, mistake)
    done = call("--batches", "1", "--seed", "5", "--profile", profile)
    assert done.exit_code == 1
    assert f"replay: ceas fuzz frames --batches 1 --seed 5 --profile {profile}" in done.stdout
    again = json.loads(call("--batches", "1", "--seed", "5", "--profile", profile, "--json").stdout)
    assert again["failed_seeds"] == [5]
    assert text in again["failures"][0]["failure"]


def test_a_rejection_that_changes_the_state_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    reject = Authenticator._reject

    def wasteful(self: Authenticator, sender: int, reason: RejectionReason) -> Any:
        if reason == RejectionReason.BAD_TAG:
            self._accepted[0] += 1
        return reject(self, sender, reason)

    monkeypatch.setattr(Authenticator, "_reject", wasteful)
    assert any("changed `accepted`" in text for text in run_frame_batch(0, "its64").accepted)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("frames", "--profile", "seeded"), "unknown profile `seeded`. Did you mean `qkd_seeded`?"),
        (("frames", "--batches", "0"), "`--batches` must be at least 1, but is 0"),
        (("frames", "--workers", "0"), "`--workers` must be at least 1, but is 0"),
        (("frames", "--schedules", "3"), "`--schedules` is not one of `ceas fuzz frames`"),
        (("frames", "--n-nodes", "4"), "`--n-nodes` is not one of `ceas fuzz frames`"),
        (("consensus", "--batches", "3"), "`--batches` is not one of `ceas fuzz consensus`"),
        (("consensus", "--profile", "its64"), "`--profile` is not one of `ceas fuzz consensus`"),
        (("frame",), "unknown target `frame`. Did you mean `frames`?"),
    ],
)
def test_mistakes_end_with_one_message(arguments: tuple[str, ...], text: str) -> None:
    done = CliRunner().invoke(app, ["fuzz", *arguments])
    assert done.exit_code == 2
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_million_drawn_and_a_hundred_thousand_changed_frames_of_every_profile() -> None:
    found = fuzz_frames(batches=500)
    assert found["wrongly_handled"] == 0
    for row in found["profiles"]:
        assert (row["drawn_frames"], row["changed_frames"]) == (10**6, 10**5)
        assert row["correct_frames_accepted"] == 4000
    assert [row["profile"] for row in found["profiles"]] == list(PROFILES)


@pytest.mark.slow
def test_counts_do_not_depend_on_the_workers() -> None:
    found = [fuzz_frames(batches=12, profiles=["its64"], workers=workers) for workers in (1, 2)]
    assert found[0]["profiles"][0]["rejected"] == found[1]["profiles"][0]["rejected"]
