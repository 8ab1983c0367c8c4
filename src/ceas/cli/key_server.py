"""`ceas kme`: a local key server with the API of ETSI GS QKD 014."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ceas.cli.arguments import LARGEST_SEED, split_names
from ceas.errors import DomainError

__all__ = ["kme"]


def kme(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with the certificates ca.pem, kme.pem and kme.key.")
    ],
    *,
    sae: Annotated[
        str, typer.Option("--sae", metavar="A,B,...", help="Who may have keys: ids, as in their certificates' names.")
    ],
    make_certificates: Annotated[
        bool,
        typer.Option("--make-certificates", help="Write certificates for the server and every id into DIR, and end."),
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="Random bytes to cut keys from, each used once; notes FILE.used."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, max=LARGEST_SEED, help="Without --keys: seed of simulated keys; default: 0."),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option("--bits", min=0, help="Without --keys: bits that each two ids share; default: 1000000."),
    ] = None,
    key_size: Annotated[int, typer.Option("--key-size", help="Bits of a key when a request does not say.")] = 256,
    host: Annotated[str, typer.Option("--host", help="Name or address to listen on.")] = "localhost",
    port: Annotated[int, typer.Option("--port", help="Port to listen on; 0 for a free one.")] = 8014,
) -> None:
    """Serve keys by ETSI GS QKD 014 over mutual TLS, until Ctrl-C.

    First run it with --make-certificates, then without. docs/keys.md shows both ends.
    """
    from ceas.experiments import make_key_certificates, open_key_server

    ids = split_names("--sae", sae)
    if make_certificates:
        for path in make_key_certificates(directory, ids):
            typer.echo(f"wrote {path}")
        typer.echo(f"serve keys with: ceas kme {shlex.quote(str(directory))} --sae {shlex.quote(','.join(ids))}")
        return
    if keys is not None and (seed is not None or bits is not None):
        raise DomainError("Options `--seed` and `--bits` make simulated keys; leave them out with `--keys`.")
    root, amount = seed or 0, 1_000_000 if bits is None else bits
    server = open_key_server(
        directory,
        ids,
        keys_file=keys,
        seed=root,
        bits_per_pair=amount,
        key_size=key_size,
        host=host,
        port=port,
        on_request=_print_request,
    )
    try:
        origin = f"from {keys}" if keys else f"simulated, seed {root}, {amount} bits for each two: for tests only"
        typer.echo(
            f"key server on https://{_in_url(host)}:{server.port}/api/v1/keys for {', '.join(ids)}; Ctrl-C ends it"
        )
        typer.echo(f"keys: {origin}")
        server.serve_forever()
    finally:
        server.close()


def _print_request(sae_id: str, method: str, path: str, status: int) -> None:
    # Escaped: the path is a client's, and this may be a terminal.
    typer.echo(f"{status} {ascii(sae_id)[1:-1] or '(no name)'} {method} {ascii(path)[1:-1]}")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
