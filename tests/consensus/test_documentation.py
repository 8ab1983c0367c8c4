"""The tests that docs/consensus.md names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "consensus.md").read_text("utf-8")


def test_every_test_that_the_page_names_exists() -> None:
    named, path = 0, None
    for folder, name, function in re.findall(r"`(tests/[a-z_/]+/)?(test_\w+\.py)?(?:::(test_\w+))?`", PAGE):
        if name:
            path = ROOT / folder / name if folder else path.parent / name if path else None
            assert path is not None, name
            assert path.is_file(), path
        if function:
            assert path is not None, function
            assert f"def {function}(" in path.read_text("utf-8"), (path, function)
        named += bool(name or function)
    assert named >= 40
