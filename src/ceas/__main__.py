"""`python -m ceas` is the `ceas` command."""

from ceas.cli import main

main()
