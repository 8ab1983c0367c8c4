"""A local key server: the API of ETSI GS QKD 014 over mutual TLS, one thread a connection.

It plays the KMEs of all its SAEs at once. Nothing here decides who may have which key; that is `store.py`.

What a client cannot do: without a certificate of the authority it gets no HTTP reply at all; a connection that says
nothing is closed after a while, and the TLS handshake happens in its own thread. But no more than a fixed number of
connections are open at once, and whoever holds them all, with or without a certificate, keeps others out.
"""

import json
import socket
import ssl
import sys
import threading
import traceback
import urllib.parse
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from types import TracebackType
from typing import Any, Final, Self

from ceas.authentication.etsi014.certificates import CertificateFiles, server_context
from ceas.authentication.etsi014.documents import (
    DeliveredKey,
    KeyRequest,
    KeyStatus,
    MalformedError,
    Refused,
    canonical_id,
    key_ids_of,
    parse_object,
)
from ceas.authentication.etsi014.store import KeyStore
from ceas.errors import DomainError

__all__ = ["KeyServer"]

_PREFIX: Final = ("api", "v1", "keys")
_LONGEST_BODY: Final = 1 << 20
_MOST_CONNECTIONS: Final = 64

Reply = KeyStatus | tuple[DeliveredKey, ...] | Refused


class KeyServer:
    """A key server that listens from its construction on.

    Use `serve_forever` in a thread of its own, or the server as a context manager, which does that and closes it.

    Args:
        store: Keys; closed with the server.
        files: The server's certificate and the authority of its clients.
        kme_id: Name of the KME in status documents.
        host: Name or address to listen on.
        port: Port; 0 for a free one.
        idle_timeout_s: Seconds after which a silent connection is closed.
        on_request: Called with (SAE, method, path without query, HTTP status) after every reply, from any thread.

    Raises:
        DomainError: a certificate cannot be read, or the address cannot be listened on.
    """

    def __init__(
        self,
        store: KeyStore,
        files: CertificateFiles,
        *,
        kme_id: str = "kme",
        host: str = "127.0.0.1",
        port: int = 0,
        idle_timeout_s: float = 10.0,
        on_request: Callable[[str, str, str, int], None] | None = None,
    ) -> None:
        context = server_context(files)
        try:
            self._server = _Server(
                (host, port),
                context=context,
                store=store,
                kme_id=kme_id,
                idle_timeout_s=idle_timeout_s,
                on_request=on_request,
            )
        except (OSError, OverflowError) as error:
            raise DomainError(f"cannot listen on {host}:{port}: {error}") from error
        self.store = store
        self.host = host
        self.port = int(self._server.server_address[1])
        self._thread: threading.Thread | None = None

    def serve_forever(self) -> None:
        """Answer until `close` is called from another thread, or an exception such as Ctrl-C is raised in this one."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop listening and close the store; replies under way end with the process."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self.store.close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        *,
        context: ssl.SSLContext,
        store: KeyStore,
        kme_id: str,
        idle_timeout_s: float,
        on_request: Callable[[str, str, str, int], None] | None,
    ) -> None:
        self.context, self.store, self.kme_id = context, store, kme_id
        self.idle_timeout_s, self.on_request = idle_timeout_s, on_request
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without looking up the host's full name, which can take seconds and is not needed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the base class's signature
        """Refuse a connection above the limit, which closes it."""
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection, then let in another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands here, in the connection's own thread, and answer."""
        request.settimeout(self.idle_timeout_s)
        try:
            with self.context.wrap_socket(request, server_side=True) as connection:
                _Handler(connection, client_address, self)
        except (ssl.SSLError, OSError):
            # A client without a certificate, one that hung up, or one that spoke no TLS: its own affair.
            return

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """Show a defect of this server."""
        traceback.print_exc(file=sys.stderr)


class _LastLine:
    """A file that remembers the last line read of it."""

    def __init__(self, file: BufferedIOBase) -> None:
        self.file = file
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self.file.readline(limit)
        return self.last


def _split(target: str) -> urllib.parse.SplitResult:
    try:
        return urllib.parse.urlsplit(target)
    except ValueError as error:
        raise MalformedError("the path cannot be read") from error


class _Handler(BaseHTTPRequestHandler):
    """One connection: HTTP in, the store's answer out."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "ceas-kme"
    sys_version = ""

    def parse_request(self) -> bool:
        """Read a request; one whose headers end with the connection and not with an empty line is none."""
        recorded = _LastLine(self.rfile)
        self.rfile = recorded  # type: ignore[assignment]
        try:
            is_read = super().parse_request()
        finally:
            self.rfile = recorded.file
        if is_read and recorded.last not in (b"\r\n", b"\n"):
            self.close_connection = True
            return False
        return is_read

    def do_GET(self) -> None:
        """Answer GET."""
        self._answer("GET")

    def do_POST(self) -> None:
        """Answer POST."""
        self._answer("POST")

    def _answer(self, method: str) -> None:
        path, sae_id = self.path.partition("?")[0], ""
        try:
            sae_id = self._sae_id()
            body = self._body()
            reply = self._reply(sae_id, method, _split(self.path), body)
        except MalformedError as error:
            reply = Refused(status=400, message=str(error))
        except (TimeoutError, ConnectionError):
            self.close_connection = True
            return
        except Exception:
            # A defect or a full disk: the standard's 503, nothing of its cause to the client, and all of it here.
            traceback.print_exc(file=sys.stderr)
            reply = Refused(status=503, message="error on server side")
        self._send(_document(reply), reply.status if isinstance(reply, Refused) else 200)
        if self.server.on_request is not None:
            status = reply.status if isinstance(reply, Refused) else 200
            self.server.on_request(sae_id, method, path, status)

    def _reply(self, sae_id: str, method: str, split: urllib.parse.SplitResult, body: bytes) -> Reply:
        """Route one request to the store.

        Raises:
            MalformedError: path, query or body is not one of the API.
        """
        parts = [urllib.parse.unquote(part) for part in split.path.split("/")[1:]]
        if len(parts) != 5 or tuple(parts[:3]) != _PREFIX or parts[4] not in ("status", "enc_keys", "dec_keys"):
            raise MalformedError("the path must be /api/v1/keys/SAE_ID/status, .../enc_keys or .../dec_keys")
        other, call, store = parts[3], parts[4], self.server.store
        if call == "status":
            if method != "GET":
                raise MalformedError("status is asked by GET")
            return store.status(sae_id, other, kme_id=self.server.kme_id)
        query = _query(split.query) if method == "GET" else {}
        if call == "enc_keys":
            document = _counts(query) if method == "GET" else parse_object(body or b"{}")
            return store.new_keys(sae_id, other, KeyRequest.of(document))
        if method == "GET":
            if set(query) != {"key_ID"}:
                raise MalformedError("the query must be key_ID=UUID")
            return store.collect(sae_id, other, [canonical_id(query["key_ID"])])
        return store.collect(sae_id, other, key_ids_of(parse_object(body)))

    def _sae_id(self) -> str:
        """Return the common name of the client's certificate, or nothing where it has none or several.

        Raises:
            ConnectionError: The client hung up before the handshake was over.
        """
        try:
            certificate = self.connection.getpeercert() or {}
        except ValueError as error:
            raise ConnectionError("the handshake was not finished") from error
        subject = certificate.get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
        return str(names[0]) if len(names) == 1 else ""

    def _body(self) -> bytes:
        """Read the body.

        Raises:
            MalformedError: it is too long, or of unknown length.
        """
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not _is_number(length) or int(length) > _LONGEST_BODY:
            # What follows cannot be told from a next request.
            self.close_connection = True
            raise MalformedError(f"the body must have a Content-Length of at most {_LONGEST_BODY}")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionError("the client hung up")
        return body

    def _send(self, document: Mapping[str, Any], status: int) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what is no HTTP, or has another method, as a bad request: the standard has no other statuses."""
        self.close_connection = True
        self._send({"message": message or "bad request"}, 400)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's signature
        """Print nothing; `on_request` is told instead."""


def _document(reply: Reply) -> dict[str, Any]:
    return {"keys": [one.to_document() for one in reply]} if isinstance(reply, tuple) else reply.to_document()


def _query(text: str) -> dict[str, str]:
    """Read a query of which every name occurs once.

    Raises:
        MalformedError: it is no such query.
    """
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=10)
    except ValueError as error:
        raise MalformedError(f"the query cannot be read: {error}") from error
    if len(dict(pairs)) < len(pairs):
        raise MalformedError("a name occurs twice in the query")
    return dict(pairs)


def _counts(query: Mapping[str, str]) -> dict[str, int]:
    for name, text in query.items():
        if name not in ("number", "size"):
            raise MalformedError(f"unknown query name `{name}`; known: number, size")
        if not _is_number(text):
            raise MalformedError(f"`{name}` must be a whole number, not negative, but is {text!r}")
    return {name: int(text) for name, text in query.items()}


def _is_number(text: str) -> bool:
    # int() would also take signs, underscores, spaces and other scripts' digits.
    return text.isascii() and text.isdigit() and len(text) <= 9
