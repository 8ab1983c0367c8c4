"""`ceas kme` as a user runs it: certificates, a server that is really asked, Ctrl-C, and mistakes."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ceas.authentication.etsi014 import CertificateFiles, KeyClient, make_certificates
from ceas.cli import app
from ceas.errors import KeyDeliveryError

DOCUMENT = Path(__file__).parents[2] / "docs" / "keys.md"


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-u", "-m", "ceas", "kme", "demo", "--sae", "alice,bob", "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"https://localhost:(\d+)/api/v1/keys for alice, bob", process.stdout.readline())
        assert found is not None
        assert process.stdout.readline().startswith("keys: from bits" if arguments else "keys: simulated, seed 0, ")
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate(timeout=20)


def python_of(document: Path) -> str:
    [snippet] = re.findall(r"```python\n(.*?)```", document.read_text("utf-8"), re.DOTALL)
    return str(snippet)


def test_the_document_s_example_runs_and_ctrl_c_ends_the_server(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["kme", str(tmp_path / "demo"), "--sae", "alice,bob", "--make-certificates"])
    assert made.exit_code == 0, made.output
    assert made.output.count("wrote ") == 7
    with serving(tmp_path) as (process, port):
        program = python_of(DOCUMENT).replace("8014", str(port))
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == "3906 keys in store\nTrue [32, 32]\n"
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == "interrupted\n"
    assert "200 alice POST /api/v1/keys/bob/enc_keys\n200 bob POST /api/v1/keys/alice/dec_keys\n" in out


def test_keys_of_a_file_are_not_repeated_after_the_server_was_killed(tmp_path: Path) -> None:
    make_certificates(tmp_path / "demo", ["alice", "bob"])
    material = bytes(range(64))
    (tmp_path / "bits").write_bytes(material)
    got = b""
    for _ in range(2):
        with serving(tmp_path, "--keys", "bits") as (_, port):
            client = KeyClient("localhost", port, CertificateFiles.of(tmp_path / "demo", "alice"))
            got += client.enc_keys("bob")[0].key
            if len(got) == 64:
                with pytest.raises(KeyDeliveryError, match="503"):
                    client.enc_keys("bob")
    assert got == material


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--sae", "alice"], "two or more different ids"),
        (["demo", "--sae", ","], "--sae"),
        (["demo", "--sae", "alice,b b"], "'b b'"),
        (["demo", "--sae", "alice,b b", "--make-certificates"], "'b b'"),
        (["demo", "--sae", "alice,kme", "--make-certificates"], "'kme'"),
        (["demo", "--sae", "alice,bob", "--make-certificates"], "already"),
        (["nowhere", "--sae", "alice,bob"], "there is no file nowhere/ca.pem"),
        (["demo", "--sae", "alice,bob", "--keys", "missing"], "missing cannot be read: No such file"),
        (["demo", "--sae", "alice,bob", "--keys", "demo"], "not a folder"),
        (["demo", "--sae", "alice,bob", "--keys", "bits", "--seed", "1"], "leave them out"),
        (["demo", "--sae", "alice,bob", "--key-size", "100"], "multiple of 8, but is 100"),
        (["demo", "--sae", "alice,bob", "--key-size", "8192"], "[64, 4096], but is 8192"),
        (["demo", "--sae", "alice,bob", "--port", "70000"], "[0, 65535], but is 70000"),
        (["demo", "--sae", "alice,bob", "--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
    ],
)
def test_mistakes_are_one_message(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificates(tmp_path / "demo", ["alice", "bob"])
    (tmp_path / "bits").write_bytes(bytes(64))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["kme", *arguments])
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_help_says_what_to_do_first() -> None:
    done = CliRunner().invoke(app, ["kme", "--help"], terminal_width=200)
    assert done.exit_code == 0
    assert "First run it with --make-certificates, then without." in done.output
