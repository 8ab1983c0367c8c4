"""Results as one self-contained web page: a run, several runs side by side, methods or scheduling policies compared.

A page is one file without scripts or pictures from elsewhere. It is a function of the result files alone, so that
making it again gives the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["write_report"]


def write_report(directories: Sequence[Path], out: Path | None = None) -> Path:
    """Write the page of one run, comparison or schedule study, or of several runs side by side.

    Args:
        directories: One directory of any kind, or several run directories.
        out: File to write; by default `report.html` in the only directory, or `side_by_side.html` in the first.

    Returns:
        Path of the page.

    Raises:
        DomainError: No directory is given.
        RunDirectoryError: A directory is missing or cannot be read, or what is not a run is among several directories.
    """
    # Tables and their reader are heavy, and `ceas --help` needs neither.
    from ceas.report.writing import write_page

    return write_page(directories, out)
