"""ETSI GS QKD 014 between the client and the local server, over real TLS sockets on this machine."""

import base64
import http.client
import json
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ceas.authentication.etsi014 import (
    CertificateFiles,
    FileBits,
    GivenBits,
    KeyClient,
    KeyServer,
    KeyStatus,
    KeyStore,
    StoreLimits,
    StreamBits,
    make_certificates,
)
from ceas.authentication.etsi014.certificates import client_context, server_context
from ceas.errors import DomainError, KeyDeliveryError

SAES = ("alice", "bob", "carol")
UNKNOWN_ID = str(uuid.UUID(int=7))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    make_certificates(directory, [*SAES, "stranger"])
    return directory


@pytest.fixture
def server(certificates: Path) -> Iterator[KeyServer]:
    store = KeyStore(SAES, StreamBits(5, bytes_per_pair=3200))
    with KeyServer(store, CertificateFiles.of(certificates, "kme"), idle_timeout_s=2.0) as running:
        yield running


@pytest.fixture
def clients(server: KeyServer, certificates: Path) -> dict[str, KeyClient]:
    return {
        name: KeyClient("localhost", server.port, CertificateFiles.of(certificates, name))
        for name in (*SAES, "stranger")
    }


class Raw:
    """Sends any HTTP as one SAE and returns what comes back."""

    def __init__(self, port: int, files: CertificateFiles) -> None:
        self._port, self._context = port, client_context(files)

    def __call__(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPSConnection("localhost", self._port, context=self._context, timeout=10)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            assert response.getheader("Content-Type") == "application/json"
            assert response.getheader("Cache-Control") == "no-store"
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@pytest.fixture
def raw(server: KeyServer, certificates: Path) -> Raw:
    return Raw(server.port, CertificateFiles.of(certificates, "alice"))


@pytest.fixture(scope="module")
def lasting_raw(certificates: Path) -> Iterator[Raw]:
    """Requests to a server that only refuses, and therefore serves many tests."""
    store = KeyStore(SAES, StreamBits(5, bytes_per_pair=3200))
    with KeyServer(store, CertificateFiles.of(certificates, "kme")) as running:
        yield Raw(running.port, CertificateFiles.of(certificates, "alice"))


def refused(status: int | None, call: Any, *arguments: Any, **named: Any) -> KeyDeliveryError:
    with pytest.raises(KeyDeliveryError) as caught:
        call(*arguments, **named)
    assert caught.value.status == status
    return caught.value


def test_documents_have_exactly_the_fields_of_the_standard(raw: Raw) -> None:
    assert raw("GET", "/api/v1/keys/bob/status") == (
        200,
        {
            "source_KME_ID": "kme",
            "target_KME_ID": "kme",
            "master_SAE_ID": "alice",
            "slave_SAE_ID": "bob",
            "key_size": 256,
            "stored_key_count": 100,
            "max_key_count": 100,
            "max_key_per_request": 128,
            "max_key_size": 4096,
            "min_key_size": 64,
            "max_SAE_ID_count": 1,
        },
    )
    body = b'{"number": 2, "size": 128, "additional_slave_SAE_IDs": ["carol"], "extension_optional": [{"abc": 1}]}'
    status, container = raw("POST", "/api/v1/keys/bob/enc_keys", body)
    assert status == 200
    assert set(container) == {"keys"}
    assert len(container["keys"]) == 2
    for one in container["keys"]:
        assert set(one) == {"key_ID", "key"}
        assert str(uuid.UUID(one["key_ID"])) == one["key_ID"]
        assert len(base64.b64decode(one["key"], validate=True)) == 16
    assert raw("POST", "/api/v1/keys/bob/enc_keys", b'{"size": 100}') == (
        400,
        {"message": "size shall be a multiple of 8"},
    )
    body = b'{"extension_mandatory": [{"abc_route": "direct"}, {"x": 1}]}'
    assert raw("POST", "/api/v1/keys/bob/enc_keys", body) == (
        400,
        {
            "message": "not all extension_mandatory parameters are supported",
            "details": [{"extension_mandatory_unsupported": "abc_route"}, {"extension_mandatory_unsupported": "x"}],
        },
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_both_ends_get_the_same_keys_and_each_once(method: Any, clients: dict[str, KeyClient]) -> None:
    alice, bob = clients["alice"], clients["bob"]
    keys = alice.enc_keys("bob", number=3, size=512, method=method)
    assert [len(one.key) for one in keys] == [64] * 3
    assert len({one.key for one in keys}) == 3
    ids = [one.key_id for one in reversed(keys)]
    if method == "GET":
        got = tuple(bob.dec_keys("alice", [one], method="GET")[0] for one in ids)
    else:
        got = bob.dec_keys("alice", ids)
    assert got == keys[::-1]
    error = refused(400, bob.dec_keys, "alice", ids[:1], method=method)
    assert "one or more keys specified are not found on KME" in str(error)
    assert error.details == ({"key_ID": ids[0]},)
    status = alice.status("bob")
    assert (status.key_size, status.stored_key_count, status.max_key_count) == (256, 94, 100)
    assert "key=" not in repr(keys)


def test_additional_slaves_share_keys(clients: dict[str, KeyClient]) -> None:
    keys = clients["alice"].enc_keys("bob", additional_slave_sae_ids=["carol"])
    for slave in ("carol", "bob"):
        assert clients[slave].dec_keys("alice", [keys[0].key_id]) == keys
        refused(400, clients[slave].dec_keys, "alice", [keys[0].key_id])


def test_replies_401(clients: dict[str, KeyClient]) -> None:
    [key] = clients["alice"].enc_keys("bob")
    refused(401, clients["carol"].dec_keys, "alice", [key.key_id])
    refused(401, clients["alice"].dec_keys, "bob", [key.key_id])
    # A certificate of the authority, but of nobody on the roster.
    refused(401, clients["stranger"].status, "bob")
    refused(401, clients["stranger"].enc_keys, "bob")
    refused(401, clients["stranger"].dec_keys, "alice", [key.key_id])
    assert clients["bob"].dec_keys("alice", [key.key_id]) == (key,)


def test_replies_503(clients: dict[str, KeyClient], server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = clients["alice"]
    alice.enc_keys("bob", number=99)
    assert "not enough key in store" in str(refused(503, alice.enc_keys, "bob", number=2))
    alice.enc_keys("bob", number=1)
    refused(503, alice.enc_keys, "bob")
    alice.enc_keys("carol")

    def defective(*arguments: Any) -> None:
        raise OSError("secret path of the disk")

    monkeypatch.setattr(server.store, "new_keys", defective)
    error = refused(503, alice.enc_keys, "carol")
    assert str(error) == "key server refused (503): error on server side"


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("GET", "/", None, "path"),
        ("GET", "/api/v1/keys/bob", None, "path"),
        ("GET", "/api/v2/keys/bob/status", None, "path"),
        ("GET", "/api/v1/keys/bob/status/more", None, "path"),
        ("POST", "/api/v1/keys/bob/status", b"", "GET"),
        ("GET", "/api/v1/keys/nobody/status", None, "nobody"),
        ("GET", "/api/v1/keys/alice/status", None, "different"),
        ("GET", "/api/v1/keys/b%2Fb/status", None, "b/b"),
        ("GET", "/api/v1/keys/bob/enc_keys?number=0", None, "number"),
        ("GET", "/api/v1/keys/bob/enc_keys?number=-1", None, "number"),
        ("GET", "/api/v1/keys/bob/enc_keys?number=1_0", None, "number"),
        ("GET", "/api/v1/keys/bob/enc_keys?number=1&number=2", None, "twice"),
        ("GET", "/api/v1/keys/bob/enc_keys?colour=1", None, "colour"),
        ("GET", "/api/v1/keys/bob/enc_keys?size=65", None, "multiple of 8"),
        ("GET", "/api/v1/keys/bob/enc_keys?size=", None, "size"),
        ("GET", "/api/v1/keys/bob/enc_keys?&&&", None, "query"),
        ("POST", "/api/v1/keys/bob/enc_keys", b"{", "JSON"),
        ("POST", "/api/v1/keys/bob/enc_keys", b"[]", "object"),
        ("POST", "/api/v1/keys/bob/enc_keys", b"\xff", "JSON"),
        ("POST", "/api/v1/keys/bob/enc_keys", b"[" * 100_000, "JSON"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"number": true}', "number"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"number": 1.0}', "number"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"number": "1"}', "number"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"number": 129}', "number"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"size": NaN}', "size"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"size": 32}', "size"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"sizes": 64}', "sizes"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"additional_slave_SAE_IDs": "carol"}', "additional"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"additional_slave_SAE_IDs": ["bob"]}', "different"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"additional_slave_SAE_IDs": ["\\ud800"]}', "unknown"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"extension_mandatory": {}}', "extension_mandatory"),
        ("POST", "/api/v1/keys/bob/enc_keys", b'{"extension_optional": [1]}', "extension_optional"),
        ("GET", "/api/v1/keys/bob/dec_keys", None, "key_ID"),
        ("GET", "/api/v1/keys/bob/dec_keys?key_ID=7", None, "UUID"),
        ("GET", f"/api/v1/keys/bob/dec_keys?key_ID={UNKNOWN_ID}", None, "not found"),
        ("POST", "/api/v1/keys/bob/dec_keys", b"", "JSON"),
        ("POST", "/api/v1/keys/bob/dec_keys", b"{}", "key_IDs"),
        ("POST", "/api/v1/keys/bob/dec_keys", b'{"key_IDs": []}', "key_IDs"),
        ("POST", "/api/v1/keys/bob/dec_keys", b'{"key_IDs": ["x"]}', "key_IDs"),
        ("POST", "/api/v1/keys/bob/dec_keys", b'{"key_IDs": [{"key_ID": ""}]}', "UUID"),
        ("POST", "/api/v1/keys/bob/dec_keys", b'{"key_IDs": [{"key_ID": "{%b}"}]}' % UNKNOWN_ID[:34].encode(), "UUID"),
        ("DELETE", "/api/v1/keys/bob/status", None, "DELETE"),
    ],
)
def test_replies_400(method: str, path: str, body: bytes | None, said: str, lasting_raw: Raw) -> None:
    status, document = lasting_raw(method, path, body)
    assert status == 400
    assert set(document) <= {"message", "details"}
    assert said in document["message"]
    assert lasting_raw("GET", "/api/v1/keys/bob/status")[1]["stored_key_count"] == 100


@pytest.mark.parametrize("headers", [{"Content-Length": "10000000"}, {"Content-Length": "-1"}, {"Content-Length": "x"}])
def test_bodies_without_a_reasonable_length_are_not_read(headers: dict[str, str], lasting_raw: Raw) -> None:
    status, document = lasting_raw("POST", "/api/v1/keys/bob/enc_keys", b"", headers)
    assert (status, "Content-Length" in document["message"]) == (400, True)


def test_a_request_without_a_body_takes_all_defaults(raw: Raw) -> None:
    status, container = raw("POST", "/api/v1/keys/bob/enc_keys", b"")
    assert status == 200
    [key] = container["keys"]
    assert len(base64.b64decode(key["key"])) == 32


def test_a_connection_can_carry_several_requests(server: KeyServer, certificates: Path) -> None:
    context = client_context(CertificateFiles.of(certificates, "alice"))
    connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=10)
    for _ in range(3):
        connection.request("GET", "/api/v1/keys/bob/status")
        assert json.loads(connection.getresponse().read())["slave_SAE_ID"] == "bob"
    connection.close()


def test_clients_without_a_certificate_of_the_authority_get_no_reply(
    server: KeyServer, certificates: Path, tmp_path: Path
) -> None:
    make_certificates(tmp_path, ["alice"])
    forged = CertificateFiles(
        certificate=tmp_path / "alice.pem", private_key=tmp_path / "alice.key", authority=certificates / "ca.pem"
    )
    error = refused(None, KeyClient("localhost", server.port, forged).status, "bob")
    assert "does not accept our certificate" in str(error)
    none = ssl.create_default_context(cafile=certificates / "ca.pem")
    connection = http.client.HTTPSConnection("localhost", server.port, context=none, timeout=10)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _status_line(connection)
    connection.close()
    # A server's certificate is for servers only.
    as_client = CertificateFiles.of(certificates, "kme")
    refused(None, KeyClient("localhost", server.port, as_client).status, "bob")


def test_a_client_talks_to_no_other_server(server: KeyServer, certificates: Path, tmp_path: Path) -> None:
    make_certificates(tmp_path, ["alice"])
    own = CertificateFiles.of(certificates, "alice")
    distrusting = CertificateFiles(
        certificate=own.certificate, private_key=own.private_key, authority=tmp_path / "ca.pem"
    )
    error = refused(None, KeyClient("localhost", server.port, distrusting).status, "bob")
    assert "is not to be trusted" in str(error)
    # A server of the authority, but at another address than its certificate names: an SAE that poses as the KME.
    make_certificates(tmp_path / "other", ["alice"], hosts=["elsewhere.example"])
    other = CertificateFiles.of(tmp_path / "other", "kme")
    with KeyServer(KeyStore(SAES, GivenBits()), other) as elsewhere:
        client = KeyClient("localhost", elsewhere.port, CertificateFiles.of(tmp_path / "other", "alice"))
        assert "is not to be trusted" in str(refused(None, client.status, "bob"))


def test_nobody_listening_is_one_clear_error(certificates: Path) -> None:
    with socket.create_server(("localhost", 0)) as unused:
        port = unused.getsockname()[1]
    client = KeyClient("localhost", port, CertificateFiles.of(certificates, "alice"))
    error = refused(None, client.status, "bob")
    assert f"no reply from key server localhost:{port}" in str(error)
    assert "certificate" not in str(error)


def test_silent_and_broken_connections_hold_up_nobody(server: KeyServer, clients: dict[str, KeyClient]) -> None:
    silent = [socket.create_connection(("localhost", server.port)) for _ in range(20)]
    broken = socket.create_connection(("localhost", server.port))
    broken.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert clients["alice"].status("bob").stored_key_count == 100
    for connection in (*silent, broken):
        connection.close()
    assert clients["alice"].status("bob").stored_key_count == 100


def test_a_request_that_was_cut_off_takes_no_key(
    server: KeyServer, clients: dict[str, KeyClient], certificates: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    context = client_context(CertificateFiles.of(certificates, "alice"))
    cut = (b"GET /api/v1/keys/bob/enc_keys HTTP/1.1\r\nHost: x\r\n", b"GET /api/v1/keys/bob/enc_keys HTTP/1.1\r\n", b"")
    for sent in cut:
        plain = socket.create_connection(("localhost", server.port))
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
    with context.wrap_socket(
        socket.create_connection(("localhost", server.port)), server_hostname="localhost"
    ) as connection:
        connection.sendall(b"GET http://[ HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert connection.recv(1 << 12).startswith(b"HTTP/1.1 400 ")
    assert clients["alice"].status("bob").stored_key_count == 100
    assert server.store.n_waiting_keys == 0
    assert "Traceback" not in capfd.readouterr().err


def test_a_connection_that_outlives_its_server_gets_no_key(certificates: Path, tmp_path: Path) -> None:
    (tmp_path / "bits").write_bytes(bytes(range(256)))
    server = KeyServer(KeyStore(SAES, FileBits(tmp_path / "bits")), CertificateFiles.of(certificates, "kme"))
    context = client_context(CertificateFiles.of(certificates, "alice"))
    connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=10)
    with server:
        connection.request("GET", "/api/v1/keys/bob/enc_keys")
        response = connection.getresponse()
        assert (response.status, len(json.loads(response.read())["keys"])) == (200, 1)
    # The descriptors of the closed files may be those of others by now.
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious" * 8)
    with precious.open("r+b"), precious.open("r+b"):
        connection.request("GET", "/api/v1/keys/bob/enc_keys")
        response = connection.getresponse()
        assert response.status == 503
        assert b"closed" in response.read()
    assert precious.read_bytes() == b"precious" * 8
    connection.close()


def test_connections_above_the_limit_are_closed_and_room_comes_back(
    server: KeyServer, clients: dict[str, KeyClient]
) -> None:
    silent = [socket.create_connection(("localhost", server.port)) for _ in range(64)]
    refused(None, clients["alice"].status, "bob")
    # They are closed by the server after its 2 s; wait for that, not for a time.
    for connection in silent:
        connection.settimeout(20)
        assert connection.recv(1) == b""
        connection.close()
    assert clients["alice"].status("bob").stored_key_count == 100


def test_many_clients_at_once_get_different_keys_and_each_its_peer_s(clients: dict[str, KeyClient]) -> None:
    barrier = threading.Barrier(6)

    def exchange(index: int) -> bytes:
        master, slave = [(a, b) for a in SAES for b in SAES if a != b][index]
        barrier.wait(20)
        got = b""
        for _ in range(4):
            keys = clients[master].enc_keys(slave, number=2)
            assert clients[slave].dec_keys(master, [one.key_id for one in keys]) == keys
            got += b"".join(one.key for one in keys)
        return got

    with ThreadPoolExecutor(6) as pool:
        bits = b"".join(pool.map(exchange, range(6)))
    keys = [bits[i : i + 32] for i in range(0, len(bits), 32)]
    assert len(set(keys)) == len(keys) == 48
    assert [clients["alice"].status(one).stored_key_count for one in ("bob", "carol")] == [84, 84]


def test_requests_are_told_without_their_ids_or_keys(certificates: Path) -> None:
    told: list[tuple[str, str, str, int]] = []
    store = KeyStore(SAES, StreamBits(5, bytes_per_pair=32))
    files = CertificateFiles.of(certificates, "kme")
    with KeyServer(store, files, on_request=lambda *one: told.append(one)) as server:
        client = KeyClient("localhost", server.port, CertificateFiles.of(certificates, "bob"))
        client.enc_keys("carol", method="GET")
        refused(400, client.dec_keys, "alice", [UNKNOWN_ID], method="GET")
    assert told == [
        ("bob", "GET", "/api/v1/keys/carol/enc_keys", 200),
        ("bob", "GET", "/api/v1/keys/alice/dec_keys", 400),
    ]


def _status_line(connection: http.client.HTTPSConnection) -> int:
    connection.request("GET", "/api/v1/keys/bob/status")
    return connection.getresponse().status


class Impostor:
    """A server with the right certificate that replies whatever a test wants."""

    def __init__(self, certificates: Path) -> None:
        self.status, self.body = 200, b""
        impostor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.send_response(impostor.status)
                self.send_header("Content-Length", str(len(impostor.body)))
                self.end_headers()
                self.wfile.write(impostor.body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        context = server_context(CertificateFiles.of(certificates, "kme"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)


@pytest.fixture(scope="module")
def impostor(certificates: Path) -> Iterator[Impostor]:
    one = Impostor(certificates)
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()


def one_key(key: str = "AAAAAAAAAAA=", key_id: str = UNKNOWN_ID) -> dict[str, str]:
    return {"key_ID": key_id, "key": key}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"keys": {}},
        {"keys": []},
        {"keys": [one_key(), one_key()]},
        {"keys": ["x"]},
        {"keys": [{"key_ID": UNKNOWN_ID}]},
        {"keys": [one_key("AAAA")]},
        {"keys": [one_key("not base64!!")]},
        {"keys": [one_key("äöü")]},
        {"keys": [one_key(key_id="7")]},
    ],
)
def test_a_client_takes_nothing_but_what_it_asked_for(document: Any, impostor: Impostor, certificates: Path) -> None:
    impostor.status, impostor.body = 200, json.dumps(document).encode()
    client = KeyClient("localhost", impostor.server.server_port, CertificateFiles.of(certificates, "alice"))
    refused(200, client.enc_keys, "bob", size=64)
    other = str(uuid.UUID(int=8))
    refused(200, client.dec_keys, "bob", [UNKNOWN_ID, other])
    refused(200, client.dec_keys, "bob", [other])
    refused(200, client.status, "bob")


def test_a_good_reply_of_another_server_is_understood(impostor: Impostor, certificates: Path) -> None:
    client = KeyClient("localhost", impostor.server.server_port, CertificateFiles.of(certificates, "alice"))
    document = {"keys": [one_key(key_id=UNKNOWN_ID.upper())], "key_container_extension": {}}
    impostor.status, impostor.body = 200, json.dumps(document).encode()
    assert client.enc_keys("bob", size=64)[0].key == bytes(8)
    assert client.dec_keys("bob", [UNKNOWN_ID])[0].key_id == UNKNOWN_ID


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"keys": NaN', b"\xff"])
def test_replies_that_are_no_documents_are_clear_errors(body: bytes, impostor: Impostor, certificates: Path) -> None:
    client = KeyClient("localhost", impostor.server.server_port, CertificateFiles.of(certificates, "alice"))
    for status in (200, 502):
        impostor.status, impostor.body = status, body
        assert f"replied {status}" in str(refused(status, client.status, "bob"))


def test_status_counts_must_be_counts(impostor: Impostor, certificates: Path) -> None:
    client = KeyClient("localhost", impostor.server.server_port, CertificateFiles.of(certificates, "alice"))
    good = KeyStatus(
        source_kme_id="a",
        target_kme_id="b",
        master_sae_id="alice",
        slave_sae_id="bob",
        **dict.fromkeys(("key_size", "stored_key_count", "max_key_count", "max_key_per_request"), 8),
        **dict.fromkeys(("max_key_size", "min_key_size", "max_sae_id_count"), 8),
    )
    impostor.status = 200
    for name, value in good.to_document().items():
        impostor.body = json.dumps(good.to_document()).encode()
        assert client.status("bob") == good
        for bad in (None, -1, 1.5, True, []):
            impostor.body = json.dumps(good.to_document() | {name: bad}).encode()
            assert name in str(refused(200, client.status, "bob")), value


def test_arguments_that_no_server_could_take(clients: dict[str, KeyClient], certificates: Path) -> None:
    bob = clients["bob"]
    for ids, method in (([], "POST"), ([UNKNOWN_ID, UNKNOWN_ID], "GET"), (["7"], "POST")):
        with pytest.raises(DomainError, match="key_ids"):
            bob.dec_keys("alice", ids, method=method)  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="GET"):
        bob.enc_keys("alice", additional_slave_sae_ids=["carol"], method="GET")
    with pytest.raises(DomainError, match="timeout_s"):
        KeyClient("localhost", 1, CertificateFiles.of(certificates, "bob"), timeout_s=0)


def test_certificates_say_who_and_what_for(certificates: Path) -> None:
    authority = x509.load_pem_x509_certificate((certificates / "ca.pem").read_bytes())
    assert not (certificates / "ca.key").exists()
    for name in ("kme", *SAES):
        one = x509.load_pem_x509_certificate((certificates / f"{name}.pem").read_bytes())
        one.verify_directly_issued_by(authority)
        assert one.subject.rfc4514_string() == f"CN={name}"
        assert (certificates / f"{name}.key").stat().st_mode & 0o777 == 0o600


def test_certificates_are_never_overwritten(certificates: Path) -> None:
    before = (certificates / "ca.pem").read_bytes()
    with pytest.raises(DomainError, match=r"has ca\.pem, .* already"):
        make_certificates(certificates, ["alice", "bob"])
    assert (certificates / "ca.pem").read_bytes() == before


@pytest.mark.parametrize("names", [["alice", "alice"], ["ca"], ["kme"], ["a/b"], [""]])
def test_names_that_are_no_files_are_refused(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="Names of certificates"):
        make_certificates(tmp_path, names)
    with pytest.raises(DomainError, match="valid_days"):
        make_certificates(tmp_path, ["alice"], valid_days=0)


def test_files_that_are_no_certificates_are_refused(certificates: Path, tmp_path: Path) -> None:
    good = CertificateFiles.of(certificates, "alice")
    bad = tmp_path / "bad.pem"
    for content in (None, b"", b"no certificate"):
        if content is not None:
            bad.write_bytes(content)
        for field in ("certificate", "private_key", "authority"):
            files = CertificateFiles(
                **{name: getattr(good, name) for name in ("certificate", "private_key", "authority")} | {field: bad}
            )
            with pytest.raises(DomainError, match=r"bad\.pem"):
                client_context(files)


def test_an_address_in_use_is_refused(server: KeyServer, certificates: Path) -> None:
    with pytest.raises(DomainError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        KeyServer(
            KeyStore(SAES, GivenBits(), limits=StoreLimits()),
            CertificateFiles.of(certificates, "kme"),
            port=server.port,
        )
