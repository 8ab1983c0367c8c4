"""The JSON documents of ETSI GS QKD 014 as values: written by the server, read back by the client.

Reading is strict, because what arrives was written by somebody else: a document of another form is a `MalformedError`
that says what is wrong, and nothing else escapes.
"""

import base64
import binascii
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["DeliveredKey", "KeyRequest", "KeyStatus", "MalformedError", "Refused", "canonical_id", "parse_object"]

# Texts of the standard, as its public implementations quote them.
SIZE_NOT_WHOLE: Final = "size shall be a multiple of 8"
MANDATORY_UNSUPPORTED: Final = "not all extension_mandatory parameters are supported"
KEYS_NOT_FOUND: Final = "one or more keys specified are not found on KME"

_STATUS_TEXTS: Final = ("source_KME_ID", "target_KME_ID", "master_SAE_ID", "slave_SAE_ID")
_STATUS_COUNTS: Final = (
    *("key_size", "stored_key_count", "max_key_count", "max_key_per_request"),
    *("max_key_size", "min_key_size", "max_SAE_ID_count"),
)
_REQUEST_FIELDS: Final = ("number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional")


class MalformedError(Exception):
    """A document is not what the standard says; caught where documents are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An error reply.

    Attributes:
        status: 400 for a request that cannot be met as it stands, 401 for an SAE that may not make it, 503 for a server
            that cannot meet it now.
        message: What is wrong.
        details: Objects that say more.
    """

    status: int
    message: str
    details: tuple[Mapping[str, Any], ...] = ()

    def to_document(self) -> dict[str, Any]:
        """Return the error document; `details` only where there are some."""
        return {"message": self.message} | ({"details": [dict(one) for one in self.details]} if self.details else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredKey:
    """One key; its bits are not printed.

    Attributes:
        key_id: UUID in the canonical form of RFC 4122, lower case.
        key: Bits, as bytes.
    """

    key_id: str
    key: bytes = field(repr=False)

    def to_document(self) -> dict[str, str]:
        """Return `{"key_ID": uuid, "key": base64}`."""
        return {"key_ID": self.key_id, "key": base64.b64encode(self.key).decode("ascii")}

    @classmethod
    def container_of(cls, document: Mapping[str, Any]) -> tuple["DeliveredKey", ...]:
        """Read a key container.

        Raises:
            MalformedError: it is not one.
        """
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise MalformedError("the reply has no list `keys`")
        return tuple(cls._of(one) for one in keys)

    @classmethod
    def _of(cls, document: object) -> "DeliveredKey":
        if not isinstance(document, dict) or not isinstance(document.get("key"), str):
            raise MalformedError("an element of `keys` has no text `key`")
        try:
            bits = base64.b64decode(document["key"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise MalformedError(f"a `key` is not base64: {error}") from error
        return cls(key_id=canonical_id(document.get("key_ID")), key=bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """What a KME says about the keys of a master and a slave; fields as in the standard, in lower case.

    Attributes:
        source_kme_id: KME that was asked.
        target_kme_id: KME of the slave.
        master_sae_id: SAE that asked.
        slave_sae_id: SAE to share keys with.
        key_size: Bits of a key when a request does not say.
        stored_key_count: Keys of that size that the KME could deliver now.
        max_key_count: Keys of that size that it can store.
        max_key_per_request: Keys that one request may ask for.
        max_key_size: Most bits of a key.
        min_key_size: Fewest bits of a key.
        max_sae_id_count: Additional slaves that one request may name.
    """

    source_kme_id: str
    target_kme_id: str
    master_sae_id: str
    slave_sae_id: str
    key_size: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    max_key_size: int
    min_key_size: int
    max_sae_id_count: int

    def to_document(self) -> dict[str, str | int]:
        """Return the status document with the standard's spelling."""
        return {name: getattr(self, name.lower()) for name in (*_STATUS_TEXTS, *_STATUS_COUNTS)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "KeyStatus":
        """Read a status document; a `status_extension` is passed over.

        Raises:
            MalformedError: a field is missing or of another type.
        """
        for name in _STATUS_TEXTS:
            if not isinstance(document.get(name), str):
                raise MalformedError(f"`{name}` must be a text, but is {document.get(name)!r}")
        for name in _STATUS_COUNTS:
            if not _is_count(document.get(name)):
                raise MalformedError(f"`{name}` must be a whole number, not negative, but is {document.get(name)!r}")
        return cls(**{name.lower(): document[name] for name in (*_STATUS_TEXTS, *_STATUS_COUNTS)})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """What a master asks for.

    Attributes:
        number: Keys.
        size: Bits of each, None for the KME's default.
        additional_slave_sae_ids: Slaves that share the keys with the one in the path.
        mandatory_extensions: Names of the extensions without which the request must not be met.
    """

    number: int = 1
    size: int | None = None
    additional_slave_sae_ids: tuple[str, ...] = ()
    mandatory_extensions: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """Return the request document; what has its default is left out, but for the number."""
        document: dict[str, Any] = {"number": self.number}
        if self.size is not None:
            document["size"] = self.size
        if self.additional_slave_sae_ids:
            document["additional_slave_SAE_IDs"] = list(self.additional_slave_sae_ids)
        return document

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "KeyRequest":
        """Read a request document. Optional extensions are passed over, as the standard allows.

        Raises:
            MalformedError: a field is unknown or of another type.
        """
        for name in document:
            if name not in _REQUEST_FIELDS:
                raise MalformedError(f"unknown field `{name}`; known: {', '.join(_REQUEST_FIELDS)}")
        for name in ("number", "size"):
            if name in document and not _is_count(document[name]):
                raise MalformedError(f"`{name}` must be a whole number, not negative, but is {document[name]!r}")
        slaves = document.get("additional_slave_SAE_IDs", [])
        if not isinstance(slaves, list) or not all(isinstance(one, str) for one in slaves):
            raise MalformedError("`additional_slave_SAE_IDs` must be a list of texts")
        for name in ("extension_mandatory", "extension_optional"):
            extensions = document.get(name, [])
            if not isinstance(extensions, list) or not all(isinstance(one, dict) for one in extensions):
                raise MalformedError(f"`{name}` must be a list of objects")
        return cls(
            number=document.get("number", 1),
            size=document.get("size"),
            additional_slave_sae_ids=tuple(slaves),
            mandatory_extensions=tuple(key for one in document.get("extension_mandatory", []) for key in one),
        )


def key_ids_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Read `{"key_IDs": [{"key_ID": uuid}, ...]}`.

    Raises:
        MalformedError: it has another form.
    """
    entries = document.get("key_IDs")
    if not isinstance(entries, list) or not entries or not all(isinstance(one, dict) for one in entries):
        raise MalformedError("`key_IDs` must be a list of objects with a `key_ID` each, at least one")
    return tuple(canonical_id(one.get("key_ID")) for one in entries)


def key_ids_document(key_ids: Sequence[str]) -> dict[str, Any]:
    """Return what `key_ids_of` reads."""
    return {"key_IDs": [{"key_ID": one} for one in key_ids]}


def canonical_id(text: object) -> str:
    """Return a UUID in lower case with hyphens.

    Raises:
        MalformedError: it is no UUID of that form.
    """
    # uuid.UUID also takes braces, `urn:uuid:` and missing hyphens, which the standard's format (RFC 4122) does not.
    if isinstance(text, str) and len(text) == 36 and text.isascii():
        try:
            parsed = str(uuid.UUID(text))
        except ValueError:
            parsed = ""
        if parsed == text.lower():
            return parsed
    raise MalformedError(f"`key_ID` must be a UUID, but is {text!r}")


def parse_object(data: bytes) -> dict[str, Any]:
    """Read one JSON object from UTF-8.

    Raises:
        MalformedError: it is something else.
    """
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # deep nesting exhausts the parser's stack
        raise MalformedError(f"not a JSON document: {error}") from error
    if not isinstance(document, dict):
        raise MalformedError(f"must be a JSON object, but is {type(document).__name__}")
    return document


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
