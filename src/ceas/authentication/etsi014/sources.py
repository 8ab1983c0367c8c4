"""Where a key store's bits come from: given ones, named streams, or a file of which no bit leaves twice.

A source is used under the lock of its store, so it needs none of its own.
"""

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ceas.errors import DomainError
from ceas.streams import stream

__all__ = ["BitSource", "FileBits", "GivenBits", "SaePair", "StreamBits"]

SaePair = tuple[str, str]
_OFFSET_DIGITS = 20


class BitSource(Protocol):
    """Bits that two KMEs share, for each unordered pair (first < second) of SAEs."""

    def available_bytes(self, pair: SaePair) -> int:
        """Return the bytes that a pair could take now."""

    def capacity_bytes(self, pair: SaePair) -> int:
        """Return the most bytes that a pair could ever have had at once."""

    def take(self, pairs: Sequence[SaePair], n_bytes: int) -> bytes | None:
        """Return the next bytes of the first pair, each of them once; None, with nothing taken, for want of them.

        Every further pair pays as much: its bits are the one-time pad that carries the key to a further slave.
        """

    def close(self) -> None:
        """Give back what the source holds."""


class GivenBits:
    """Bits that the caller adds, one pool a pair."""

    def __init__(self) -> None:
        self._pools: dict[SaePair, bytes] = {}
        self._added: dict[SaePair, int] = {}

    def add(self, one: str, other: str, bits: bytes) -> None:
        """Append bits to the pool of two different SAEs. Not while a server uses the store.

        Raises:
            DomainError: both are the same.
        """
        if one == other:
            raise DomainError(f"Arguments `one`, `other` must be two different SAEs, but are both {one!r}.")
        pair = (min(one, other), max(one, other))
        self._pools[pair] = self._pools.get(pair, b"") + bits
        self._added[pair] = self._added.get(pair, 0) + len(bits)

    def available_bytes(self, pair: SaePair) -> int:
        """Return the bytes left of a pair."""
        return len(self._pools.get(pair, b""))

    def capacity_bytes(self, pair: SaePair) -> int:
        """Return the bytes that were added."""
        return self._added.get(pair, 0)

    def take(self, pairs: Sequence[SaePair], n_bytes: int) -> bytes | None:
        """Take the front of each pool; return that of the first."""
        if any(self.available_bytes(pair) < n_bytes for pair in pairs):
            return None
        bits = self._pools[pairs[0]][:n_bytes]
        for pair in pairs:
            self._pools[pair] = self._pools[pair][n_bytes:]
        return bits

    def close(self) -> None:
        """Do nothing."""


class StreamBits:
    """Bits of named streams, for tests and demonstrations: whoever knows the seed knows them.

    Args:
        seed: Root seed.
        bytes_per_pair: Bytes that every pair of SAEs has at the start, not negative.

    Raises:
        DomainError: `bytes_per_pair` is negative.
    """

    def __init__(self, seed: int, *, bytes_per_pair: int) -> None:
        if bytes_per_pair < 0:
            raise DomainError(f"Argument `bytes_per_pair` must not be negative, but is {bytes_per_pair}.")
        self._seed = seed
        self._capacity = bytes_per_pair
        self._generators: dict[SaePair, np.random.Generator] = {}
        self._taken: dict[SaePair, int] = {}

    def available_bytes(self, pair: SaePair) -> int:
        """Return the bytes left of a pair."""
        return self._capacity - self._taken.get(pair, 0)

    def capacity_bytes(self, pair: SaePair) -> int:  # noqa: ARG002 - the same for all
        """Return the bytes at the start."""
        return self._capacity

    def take(self, pairs: Sequence[SaePair], n_bytes: int) -> bytes | None:
        """Return the next bytes of the first pair's stream."""
        if any(self.available_bytes(pair) < n_bytes for pair in pairs):
            return None
        drawn = [self._generator(pair).bytes(n_bytes) for pair in pairs]
        for pair in pairs:
            self._taken[pair] = self._taken.get(pair, 0) + n_bytes
        return drawn[0]

    def close(self) -> None:
        """Do nothing."""

    def _generator(self, pair: SaePair) -> np.random.Generator:
        if pair not in self._generators:
            self._generators[pair] = stream(self._seed, f"key_server/{pair[0]}/{pair[1]}")
        return self._generators[pair]


class FileBits:
    """Bits of a file that both KMEs hold, one stock for all pairs, each bit handed out once, over restarts too.

    How much is used stands in `FILE.used` and is on disk before a bit leaves. While a source is open it holds a lock on
    that file, so that two servers cannot hand out the same bits (on systems with `flock`).

    Args:
        path: File of random bytes.

    Raises:
        DomainError: the file cannot be read, is used by another server, or `FILE.used` does not fit it.
    """

    def __init__(self, path: Path) -> None:
        # The same file under another name must find the same note of what is used.
        path = path.resolve()
        self._path = path
        self._used_path = path.with_name(f"{path.name}.used")
        try:
            self._bits = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise DomainError(f"key file {path} cannot be read: {error.strerror}") from error
        try:
            found = os.fstat(self._bits)
            if not stat.S_ISREG(found.st_mode):
                raise DomainError(f"key file {path} must be a file, not a folder or a device")
            self._size = found.st_size
            # Itself too: a hard link has another note, but is the same file.
            self._lock(self._bits)
            self._used_file = self._locked()
        except BaseException:
            os.close(self._bits)
            raise
        try:
            self._used = self._read_used()
        except BaseException:
            self.close()
            raise

    def available_bytes(self, pair: SaePair) -> int:  # noqa: ARG002 - one stock for all
        """Return the bytes left of the file."""
        return self._size - self._used

    def capacity_bytes(self, pair: SaePair) -> int:  # noqa: ARG002 - one stock for all
        """Return the bytes of the file."""
        return self._size

    def take(self, pairs: Sequence[SaePair], n_bytes: int) -> bytes | None:  # noqa: ARG002 - one stock for all
        """Return the next bytes of the file, after noting on disk that they are used.

        Raises:
            OSError: the note could not be written, or the file be read; the bytes then count as used.
        """
        first = self._used
        if self._size - first < n_bytes:
            return None
        # Used first, handed out second: a crash in between loses bits, the other order would repeat them.
        self._used = first + n_bytes
        os.lseek(self._used_file, 0, os.SEEK_SET)
        os.write(self._used_file, f"{self._used:0{_OFFSET_DIGITS}d}\n".encode())
        os.fsync(self._used_file)
        os.lseek(self._bits, first, os.SEEK_SET)
        bits = os.read(self._bits, n_bytes)
        if len(bits) < n_bytes:
            raise OSError(f"{self._path} became shorter")
        return bits

    def close(self) -> None:
        """Close both files, which frees the lock."""
        os.close(self._bits)
        os.close(self._used_file)

    def _locked(self) -> int:
        try:
            file = os.open(self._used_path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DomainError(f"{self._used_path} cannot be written: {error.strerror}") from error
        try:
            self._lock(file)
        except DomainError:
            os.close(file)
            raise
        return file

    def _lock(self, file: int) -> None:
        if sys.platform != "win32":
            import fcntl  # noqa: PLC0415 - not on all systems

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DomainError(f"key file {self._path} is in use by another key server") from error

    def _read_used(self) -> int:
        text = os.read(self._used_file, 64).decode("ascii", "replace").strip()
        if not text:
            return 0
        if not text.isdigit() or int(text) > self._size:
            raise DomainError(
                f"{self._used_path} must hold a number of bytes up to {self._size}, the size of {self._path.name}, "
                f"but holds {text!r}; remove it only if no bit of the key file has been used"
            )
        return int(text)
