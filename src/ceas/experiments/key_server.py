"""`ceas kme`: certificates and a local key server, from what a user says on the command line."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ceas.authentication.etsi014 import (
    CertificateFiles,
    FileBits,
    KeyServer,
    KeyStore,
    StoreLimits,
    StreamBits,
    make_certificates,
)
from ceas.errors import DomainError

__all__ = ["make_key_certificates", "open_key_server"]

_KME_ID = "kme"


def make_key_certificates(directory: Path, sae_ids: Sequence[str]) -> list[Path]:
    """Write certificates of an authority, the key server and the SAEs into a folder; return the files.

    Raises:
        DomainError: the ids are not those of a key store, or the folder has certificates or cannot be written.
    """
    KeyStore(sae_ids, StreamBits(0, bytes_per_pair=0))  # refuses ids that the server would refuse
    return make_certificates(directory, sae_ids, kme_id=_KME_ID)


def open_key_server(
    directory: Path,
    sae_ids: Sequence[str],
    *,
    keys_file: Path | None = None,
    seed: int = 0,
    bits_per_pair: int = 1_000_000,
    key_size: int = 256,
    host: str = "localhost",
    port: int = 8014,
    on_request: Callable[[str, str, str, int], None] | None = None,
) -> KeyServer:
    """Return a key server that listens; the caller serves and closes it.

    Args:
        directory: Folder with `kme.pem`, `kme.key` and `ca.pem`.
        sae_ids: Who may have keys.
        keys_file: File of random bytes that the keys are made of; without one they come from named streams.
        seed: Root seed of the streams.
        bits_per_pair: Bits that each pair of SAEs has, of the streams; not negative.
        key_size: Bits of a key when a request does not say.
        host: Name or address to listen on.
        port: Port, 0 for a free one.
        on_request: Called with (SAE, method, path, HTTP status) after every reply.

    Raises:
        DomainError: an argument is out of range, or a file or the address cannot be used.
    """
    limits = StoreLimits(key_size=key_size)
    if not 0 <= port <= 0xFFFF:
        raise DomainError(f"Argument `port` must be in [0, 65535], but is {port}.")
    source = StreamBits(seed, bytes_per_pair=bits_per_pair // 8) if keys_file is None else FileBits(keys_file)
    try:
        store = KeyStore(sae_ids, source, limits=limits)
        files = CertificateFiles.of(directory, _KME_ID)
        return KeyServer(store, files, kme_id=_KME_ID, host=host, port=port, on_request=on_request)
    except BaseException:
        source.close()
        raise
