"""The `ceas` command. It parses, calls and prints; it decides nothing."""

from ceas.cli.app import app as app
from ceas.cli.app import main as main

__all__ = ["app", "main"]
