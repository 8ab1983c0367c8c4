"""The key store behind the API: who may have which key, decided without a socket.

Rules:
1. A key is cut from its pair's bits when the master asks, and goes to the master at once.
2. It then waits, under its id, for each of its slaves. Each gets it once; with the last it is forgotten.
3. Nobody else gets it: an SAE that is not one of its slaves gets 401, the master included.
4. A request is met in full or not at all; a refusal leaves the store as it was.

All methods may be called from several threads.
"""

import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ceas.authentication.etsi014.documents import (
    KEYS_NOT_FOUND,
    MANDATORY_UNSUPPORTED,
    SIZE_NOT_WHOLE,
    DeliveredKey,
    KeyRequest,
    KeyStatus,
    Refused,
)
from ceas.authentication.etsi014.sources import BitSource, SaePair
from ceas.errors import DomainError

__all__ = ["KeyStore", "StoreLimits"]

# What an id may be: it stands in paths, file names and certificates.
_SAE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """What one request may ask for.

    Attributes:
        key_size: Bits of a key when a request does not say, a multiple of 8.
        min_key_size: Fewest bits of a key, a multiple of 8.
        max_key_size: Most bits of a key, a multiple of 8.
        max_key_per_request: Keys in one request.
        max_waiting_keys: Keys of one master that may wait for their slaves at the same time.
    """

    key_size: int = 256
    min_key_size: int = 64
    max_key_size: int = 4096
    max_key_per_request: int = 128
    max_waiting_keys: int = 100_000

    def __post_init__(self) -> None:
        for name in ("key_size", "min_key_size", "max_key_size"):
            value = getattr(self, name)
            if value < 8 or value % 8:
                raise DomainError(f"Argument `{name}` must be a positive multiple of 8, but is {value}.")
        if not self.min_key_size <= self.key_size <= self.max_key_size:
            raise DomainError(
                f"Argument `key_size` must be in [{self.min_key_size}, {self.max_key_size}], but is {self.key_size}."
            )
        for name in ("max_key_per_request", "max_waiting_keys"):
            if getattr(self, name) < 1:
                raise DomainError(f"Argument `{name}` must be at least 1, but is {getattr(self, name)}.")


_CLOSED: Final = Refused(status=503, message="the key server is closed")


@dataclass(slots=True, kw_only=True)
class _WaitingKey:
    """A key that its master has and some of its slaves have not."""

    master: str
    slaves: frozenset[str]
    left: set[str]
    key: bytes


class KeyStore:
    """Keys of the SAEs of one local network.

    Args:
        sae_ids: Who may have keys; letters, digits, dots, hyphens and underscores, at most 64.
        source: Bits; closed by `close`.
        limits: What one request may ask for.
        make_id: Makes the ids of keys; random UUIDs by default.

    Raises:
        DomainError: fewer than two SAEs, one twice, or an id of another form.
    """

    def __init__(
        self,
        sae_ids: Iterable[str],
        source: BitSource,
        *,
        limits: StoreLimits = StoreLimits(),
        make_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self.sae_ids = tuple(sae_ids)
        for sae_id in self.sae_ids:
            if not _SAE_ID.fullmatch(sae_id):
                raise DomainError(
                    f"The id of an SAE must be letters, digits, '.', '_' and '-', at most 64, but is {sae_id!r}."
                )
        if len(self.sae_ids) < 2 or len(set(self.sae_ids)) < len(self.sae_ids):
            raise DomainError(f"Argument `sae_ids` must be two or more different ids, but is {list(self.sae_ids)}.")
        self.limits = limits
        self._source = source
        self._make_id = make_id
        self._waiting: dict[str, _WaitingKey] = {}
        self._n_waiting_of: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def n_waiting_keys(self) -> int:
        """Keys that wait for at least one of their slaves."""
        return len(self._waiting)

    def status(self, master: str, slave: str, *, kme_id: str) -> KeyStatus | Refused:
        """Return what there is for a master and a slave; `kme_id` names the server, which is the KME of both."""
        refused = self._parties_fault(master, (slave,))
        if refused is not None:
            return refused
        pair, bits = _pair(master, slave), self.limits.key_size
        with self._lock:
            if self._is_closed:
                return _CLOSED
            stored = self._source.available_bytes(pair) * 8 // bits
        return KeyStatus(
            source_kme_id=kme_id,
            target_kme_id=kme_id,
            master_sae_id=master,
            slave_sae_id=slave,
            key_size=bits,
            stored_key_count=stored,
            max_key_count=self._source.capacity_bytes(pair) * 8 // bits,
            max_key_per_request=self.limits.max_key_per_request,
            max_key_size=self.limits.max_key_size,
            min_key_size=self.limits.min_key_size,
            max_sae_id_count=len(self.sae_ids) - 2,
        )

    def new_keys(self, master: str, slave: str, request: KeyRequest) -> tuple[DeliveredKey, ...] | Refused:
        """Cut new keys for a master, to be collected by its slaves (`enc_keys`).

        Returns:
            The keys, or why there are none: 400 for a request out of bounds, 401 for a master that is not known here,
            503 when there are not enough bits or too many keys wait.
        """
        slaves = (slave, *request.additional_slave_sae_ids)
        size = self.limits.key_size if request.size is None else request.size
        refused = self._parties_fault(master, slaves) or self._request_fault(request, size)
        if refused is not None:
            return refused
        n_bytes = size // 8
        with self._lock:
            if self._is_closed:
                return _CLOSED
            # Of this master alone: what one does not have collected must not keep others from their keys.
            n_waiting = self._n_waiting_of[master]
            if n_waiting + request.number > self.limits.max_waiting_keys:
                return Refused(status=503, message=f"{n_waiting} keys wait for their slaves already")
            bits = self._source.take([_pair(master, one) for one in slaves], request.number * n_bytes)
            if bits is None:
                return Refused(status=503, message="not enough key in store")
            keys = []
            for first in range(0, len(bits), n_bytes):
                key = DeliveredKey(key_id=str(self._make_id()), key=bits[first : first + n_bytes])
                self._waiting[key.key_id] = _WaitingKey(
                    master=master, slaves=frozenset(slaves), left=set(slaves), key=key.key
                )
                keys.append(key)
            self._n_waiting_of[master] += len(keys)
        return tuple(keys)

    def collect(self, slave: str, master: str, key_ids: Sequence[str]) -> tuple[DeliveredKey, ...] | Refused:
        """Hand keys to a slave, in the order of the ids (`dec_keys`).

        Returns:
            The keys, or why there are none: 401 for an SAE that is not a slave of one of them, 400 for an id that is
            unknown, has been collected, belongs to another master, or is named twice.
        """
        refused = self._parties_fault(slave, (master,)) or self._ids_fault(key_ids)
        if refused is not None:
            return refused
        with self._lock:
            if self._is_closed:
                return _CLOSED
            waiting = {key_id: self._waiting.get(key_id) for key_id in key_ids}
            if any(one is not None and slave not in one.slaves for one in waiting.values()):
                return Refused(status=401, message=f"SAE {slave} may not have one or more of these keys")
            found = {i: one for i, one in waiting.items() if one is not None and one.master == master}
            missing = [i for i in key_ids if i not in found or slave not in found[i].left]
            if missing:
                return Refused(status=400, message=KEYS_NOT_FOUND, details=tuple({"key_ID": i} for i in missing))
            for key_id, one in found.items():
                one.left.discard(slave)
                if not one.left:
                    del self._waiting[key_id]
                    self._n_waiting_of[master] -= 1
        return tuple(DeliveredKey(key_id=key_id, key=one.key) for key_id, one in found.items())

    def close(self) -> None:
        """Close the source; connections that are still open get no key any more."""
        with self._lock:
            self._is_closed = True
            self._source.close()

    def _parties_fault(self, caller: str, others: Sequence[str]) -> Refused | None:
        if caller not in self.sae_ids:
            return Refused(status=401, message=f"SAE {caller} is not known here")
        for other in others:
            if other not in self.sae_ids:
                return Refused(status=400, message=f"unknown SAE_ID {other!r}")
        if len({caller, *others}) < 1 + len(others):
            return Refused(status=400, message="master and slaves must be different SAEs")
        return None

    def _ids_fault(self, key_ids: Sequence[str]) -> Refused | None:
        if len(set(key_ids)) < len(key_ids):
            return Refused(status=400, message="a key_ID is named twice")
        most = self.limits.max_key_per_request
        if len(key_ids) > most:
            return Refused(status=400, message=f"at most {most} keys in one request, but {len(key_ids)} are named")
        return None

    def _request_fault(self, request: KeyRequest, size: int) -> Refused | None:
        limits = self.limits
        if request.mandatory_extensions:
            details = tuple({"extension_mandatory_unsupported": name} for name in request.mandatory_extensions)
            return Refused(status=400, message=MANDATORY_UNSUPPORTED, details=details)
        if size % 8:
            return Refused(status=400, message=SIZE_NOT_WHOLE)
        if not limits.min_key_size <= size <= limits.max_key_size:
            return Refused(
                status=400,
                message=f"size must be in [{limits.min_key_size}, {limits.max_key_size}], but is {size}",
            )
        if not 1 <= request.number <= limits.max_key_per_request:
            return Refused(
                status=400, message=f"number must be in [1, {limits.max_key_per_request}], but is {request.number}"
            )
        return None


def _pair(one: str, other: str) -> SaePair:
    return (min(one, other), max(one, other))
