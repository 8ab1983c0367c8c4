"""What a frame costs its sender and its receiver under each profile, in time and in bytes.

Every number is the least of several repetitions, each the mean processor time over frames sent over one link of a small
network. Making includes numbers, header and key; checking includes all the rules of a receiver.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from ceas.authentication import HEADER_BYTES, PROFILES, Accepted, Authenticator, KeyPools, Profile, epoch_hash
from ceas.errors import DomainError
from ceas.runtime.progress import Progress, ProgressEvent

__all__ = ["FRAME_BYTES", "benchmark"]

FRAME_BYTES: Final = (100, 500, 1800, 80_000)
"""Bytes of a frame without its tag: a vote, the echoes of a small network, those of 50 nodes, an update."""
_NODES: Final = 4


def benchmark(
    *, frames: int = 500, repetitions: int = 5, progress: Progress | None = None
) -> Sequence[Mapping[str, Any]]:
    """Time frames of four sizes under every profile.

    Args:
        frames: Frames of one repetition, at least 1; a tenth of them for signatures and for the longest size.
        repetitions: Repetitions, at least 1.
        progress: Told after every profile.

    Returns:
        Rows with processor times in microseconds.

    Raises:
        DomainError: a number is below 1.
    """
    for name, value in (("frames", frames), ("repetitions", repetitions)):
        if value < 1:
            raise DomainError(f"Argument `{name}` must be at least 1, but is {value}.")
    rows: list[dict[str, Any]] = []
    profiles = get_args(Profile)
    for done, profile in enumerate(profiles):
        for size in FRAME_BYTES:
            count = frames if profile != "ml_dsa" and size < 10_000 else max(1, frames // 10)
            rows.append(_row(profile, size, count, repetitions))
        if progress is not None:
            progress(ProgressEvent(phase="profiles", training_round=done + 1, rounds=len(profiles)))
    return rows


def _row(profile: Profile, size: int, frames: int, repetitions: int) -> dict[str, Any]:
    authenticator = Authenticator(
        KeyPools(_NODES, enrolled_key_bits=256 + 256 * (frames * (repetitions + 1) + 1), seed=0),
        profile=profile,
        frame_quota=max(frames, 1),
        reserve_rounds=0,
        epoch=epoch_hash(n_nodes=_NODES, tolerated_byzantine=1, profile=profile, start_digest=bytes(32)),
    )
    body = bytes(size - HEADER_BYTES)
    make_s, check_s = [], []
    # The first repetition compiles what is compiled, and does not count.
    for repetition in range(repetitions + 1):
        authenticator.begin_round(repetition)
        began_s = time.process_time()
        wires = [authenticator.authenticate(0, 1, 1, body) for _ in range(frames)]
        made_s = time.process_time()
        accepted = [isinstance(authenticator.verify(1, 0, wire or b""), Accepted) for wire in wires]
        check_s.append(time.process_time() - made_s)
        make_s.append(made_s - began_s)
        assert all(accepted)  # what is timed is what is meant
    return {
        "profile": profile,
        "frame_bytes": size,
        "tag_bytes": PROFILES[profile].tag_bytes,
        "key_bits": PROFILES[profile].pad_bits,
        "make_us": 1e6 * min(make_s[1:]) / frames,
        "check_us": 1e6 * min(check_s[1:]) / frames,
    }
