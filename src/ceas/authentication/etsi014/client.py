"""A client of any key-management system with the API of ETSI GS QKD 014."""

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Sequence
from typing import Any, Final, Literal

from ceas.authentication.etsi014.certificates import CertificateFiles, client_context
from ceas.authentication.etsi014.documents import (
    DeliveredKey,
    KeyRequest,
    KeyStatus,
    MalformedError,
    canonical_id,
    key_ids_document,
    parse_object,
)
from ceas.errors import DomainError, KeyDeliveryError

__all__ = ["KeyClient"]

# Above the keys of any sensible request; a server must not be able to exhaust its client's memory.
_LONGEST_REPLY: Final = 1 << 24

Method = Literal["POST", "GET"]


class KeyClient:
    """Asks one KME for keys, as the SAE that its certificate names. Each request is a connection of its own.

    Args:
        host: Host name or address of the KME, which its certificate must name.
        port: Port.
        files: The SAE's certificate and the authority of the KME.
        timeout_s: Seconds to wait for the network, positive.

    Raises:
        DomainError: a certificate cannot be read, or `timeout_s` is not positive.
    """

    def __init__(self, host: str, port: int, files: CertificateFiles, *, timeout_s: float = 10.0) -> None:
        if not timeout_s > 0:
            raise DomainError(f"Argument `timeout_s` must be positive, but is {timeout_s}.")
        self.host, self.port, self.timeout_s = host, port, timeout_s
        self._context = client_context(files)

    def status(self, slave_sae_id: str) -> KeyStatus:
        """Return what the KME has for this SAE as master and a slave ("Get status").

        Raises:
            KeyDeliveryError: the KME refused, or could not be reached or understood.
        """
        document = self._call("GET", slave_sae_id, "status")
        try:
            return KeyStatus.of(document)
        except MalformedError as error:
            raise _misunderstood(error) from error

    def enc_keys(
        self,
        slave_sae_id: str,
        *,
        number: int = 1,
        size: int | None = None,
        additional_slave_sae_ids: Sequence[str] = (),
        method: Method = "POST",
    ) -> tuple[DeliveredKey, ...]:
        """Return new keys to share with a slave ("Get key").

        Args:
            slave_sae_id: Slave.
            number: Keys, at least 1.
            size: Bits of each; the KME's default when left out.
            additional_slave_sae_ids: Further slaves of the same keys.
            method: `GET` cannot name further slaves.

        Raises:
            DomainError: `GET` with further slaves.
            KeyDeliveryError: the KME refused, or could not be reached or understood, or delivered other keys than
                asked for.
        """
        request = KeyRequest(number=number, size=size, additional_slave_sae_ids=tuple(additional_slave_sae_ids))
        document = request.to_document()
        if method == "GET":
            if additional_slave_sae_ids:
                raise DomainError('Argument `method` must be "POST" with additional slaves, but is "GET".')
            keys = self._keys("GET", slave_sae_id, f"enc_keys?{urllib.parse.urlencode(document)}", None)
        else:
            keys = self._keys("POST", slave_sae_id, "enc_keys", document)
        if len(keys) != number or len({one.key_id for one in keys}) != number:
            raise _misunderstood(f"{number} keys were asked for, but {len(keys)} came")
        if size is not None and any(8 * len(one.key) != size for one in keys):
            raise _misunderstood(f"keys of {size} bits were asked for, but others came")
        return keys

    def dec_keys(
        self, master_sae_id: str, key_ids: Sequence[str], *, method: Method = "POST"
    ) -> tuple[DeliveredKey, ...]:
        """Return the keys of a master by their ids, in the order of the ids ("Get key with key IDs").

        Args:
            master_sae_id: Master.
            key_ids: UUIDs, at least one.
            method: `GET` takes one id only.

        Raises:
            DomainError: no id, one that is no UUID, or `GET` with several.
            KeyDeliveryError: the KME refused, or could not be reached or understood, or delivered other keys than
                asked for.
        """
        try:
            ids = [canonical_id(one) for one in key_ids]
        except MalformedError as error:
            raise DomainError(f"Argument `key_ids`: {error}.") from error
        if not ids or (method == "GET" and len(ids) > 1):
            wanted = "exactly one id with GET" if method == "GET" else "at least one id"
            raise DomainError(f"Argument `key_ids` must have {wanted}, but has {len(ids)}.")
        if method == "GET":
            keys = self._keys("GET", master_sae_id, f"dec_keys?{urllib.parse.urlencode({'key_ID': ids[0]})}", None)
        else:
            keys = self._keys("POST", master_sae_id, "dec_keys", key_ids_document(ids))
        by_id = {one.key_id: one for one in keys}
        if set(by_id) != set(ids) or len(keys) != len(ids):
            raise _misunderstood("other keys came than were asked for")
        return tuple(by_id[one] for one in ids)

    def _keys(self, method: str, sae_id: str, call: str, document: Any) -> tuple[DeliveredKey, ...]:
        reply = self._call(method, sae_id, call, document)
        try:
            return DeliveredKey.container_of(reply)
        except MalformedError as error:
            raise _misunderstood(error) from error

    def _call(self, method: str, sae_id: str, call: str, document: Any = None) -> dict[str, Any]:
        path = f"/api/v1/keys/{urllib.parse.quote(sae_id, safe='')}/{call}"
        status, data = self._exchange(method, path, document)
        try:
            reply = parse_object(data)
        except MalformedError as error:
            raise KeyDeliveryError(f"key server replied {status} with no error document", status=status) from error
        if status == 200:
            return reply
        details = reply.get("details", [])
        raise KeyDeliveryError(
            f"key server refused ({status}): {reply.get('message', 'no message')}",
            status=status,
            details=details if isinstance(details, list) else [details],
        )

    def _exchange(self, method: str, path: str, document: Any) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout_s, context=self._context)
        headers = {"Accept": "application/json", "Connection": "close"}
        body = None
        if document is not None:
            body = json.dumps(document).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            data = response.read(_LONGEST_REPLY + 1)
        except ssl.SSLCertVerificationError as error:
            raise KeyDeliveryError(
                f"the certificate of {self.host}:{self.port} is not to be trusted: {error.verify_message}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            # With TLS 1.3 a server's refusal of our certificate arrives here, as a closed connection.
            is_closed = isinstance(error, ssl.SSLError | ConnectionError) and not isinstance(
                error, ConnectionRefusedError
            )
            hint = "; it closed the connection, perhaps because it does not accept our certificate" if is_closed else ""
            raise KeyDeliveryError(f"no reply from key server {self.host}:{self.port}: {error}{hint}") from error
        finally:
            connection.close()
        if len(data) > _LONGEST_REPLY:
            raise _misunderstood(f"it is longer than {_LONGEST_REPLY} bytes")
        return response.status, data


def _misunderstood(reason: object) -> KeyDeliveryError:
    return KeyDeliveryError(f"the key server's reply is not what the standard says: {reason}", status=200)
