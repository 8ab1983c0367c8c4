"""Checkpoints survive whatever stops a write, and say clearly when they cannot be read."""

from pathlib import Path

import numpy as np
import pytest

from ceas.errors import RunDirectoryError
from ceas.runtime import checkpoint
from ceas.runtime.checkpoint import load_arrays, prefixed, save_arrays, unprefixed
from ceas.runtime.momentum import Momentum

STRUCTURED = np.array([(1, 2.5)], dtype=[("id", np.int64), ("werner", np.float32)])


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {"a/b": np.arange(6).reshape(2, 3), "text": np.array("text"), "pairs": STRUCTURED, "none": np.zeros(0)}
    save_arrays(tmp_path / "deep" / "state.npz", arrays)
    loaded = load_arrays(tmp_path / "deep" / "state.npz")
    assert loaded.keys() == arrays.keys()
    for name, value in arrays.items():
        assert loaded[name].dtype == value.dtype
        np.testing.assert_array_equal(loaded[name], value)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.npz"
    save_arrays(path, {"x": np.array(1)})

    def fail(*_arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_arrays(path, {"x": np.array(2)})
    assert load_arrays(path)["x"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.npz"]


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 broken"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"state\.npz: the checkpoint cannot be read"):
        load_arrays(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no checkpoint to resume from"):
        load_arrays(tmp_path / "state.npz")


def test_prefixes_nest() -> None:
    inner = {"x": np.array(1), "y/z": np.array(2)}
    outer = prefixed("a", inner) | {"ab": np.array(3)}
    assert set(outer) == {"a/x", "a/y/z", "ab"}
    assert unprefixed("a", outer).keys() == inner.keys()


def test_momentum_is_the_weighted_mean_of_its_steps() -> None:
    """After steps x1, x2 the mean is (beta x1 + x2) / (1 + beta); a row without steps is zero."""
    momentum = Momentum((2, 1), 0.5)
    only_first = np.array([True, False])
    momentum.add(np.array([[4.0], [9.0]]), only_first)
    assert momentum.mean().tolist() == [[4.0], [0.0]]
    momentum.add(np.array([[1.0], [9.0]]), only_first)
    np.testing.assert_allclose(momentum.mean(), [[(0.5 * 4.0 + 1.0) / 1.5], [0.0]])
    other = Momentum((2, 1), 0.5)
    other.load(momentum.to_arrays())
    for each in (momentum, other):
        each.add(np.array([[2.0], [3.0]]), np.array([True, True]))
    np.testing.assert_array_equal(momentum.mean(), other.mean())
    assert other.mean()[1, 0] == 3.0
