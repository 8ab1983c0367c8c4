"""Keys from a key-management system: ETSI GS QKD 014, both the client and a local key server.

An SAE (secure application entity) is who uses keys, a KME (key management entity) who has them. The SAE that asks for
new keys is their master, and the SAEs it asks to share them with are their slaves:

    master -- enc_keys(slave) --> KME      new keys, each with an id
    master -- ids, over any channel --> slave
    slave  -- dec_keys(master, ids) --> KME      the same keys

Every SAE proves who it is by the certificate of its TLS connection.

Source:
    ETSI GS QKD 014 V1.1.1 (2019-02), "Protocol and data format of REST-based key delivery API". Where it leaves
    a choice to the KME, docs/keys.md says what was chosen.
"""

from ceas.authentication.etsi014.certificates import CertificateFiles as CertificateFiles
from ceas.authentication.etsi014.certificates import make_certificates as make_certificates
from ceas.authentication.etsi014.client import KeyClient as KeyClient
from ceas.authentication.etsi014.documents import DeliveredKey as DeliveredKey
from ceas.authentication.etsi014.documents import KeyStatus as KeyStatus
from ceas.authentication.etsi014.documents import Refused as Refused
from ceas.authentication.etsi014.server import KeyServer as KeyServer
from ceas.authentication.etsi014.sources import FileBits as FileBits
from ceas.authentication.etsi014.sources import GivenBits as GivenBits
from ceas.authentication.etsi014.sources import StreamBits as StreamBits
from ceas.authentication.etsi014.store import KeyStore as KeyStore
from ceas.authentication.etsi014.store import StoreLimits as StoreLimits

__all__ = [
    "CertificateFiles",
    "DeliveredKey",
    "FileBits",
    "GivenBits",
    "KeyClient",
    "KeyServer",
    "KeyStatus",
    "KeyStore",
    "Refused",
    "StoreLimits",
    "StreamBits",
    "make_certificates",
]
