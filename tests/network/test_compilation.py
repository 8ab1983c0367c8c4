"""Compiled code on disk is never stale, and Numba's own settings are left alone."""

import shutil
from pathlib import Path

import numba
import pytest

from ceas.network import compilation


def test_any_change_of_a_file_with_compiled_code_makes_a_new_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(compilation.__file__).parents[1]
    for room in ("network", "scheduling"):
        shutil.copytree(source / room, tmp_path / room)
    monkeypatch.setattr(compilation, "__file__", str(tmp_path / "network" / "compilation.py"))
    before = compilation._cache_folder()
    assert before == compilation._cache_folder()
    for changed in ("network/memory.py", "scheduling/index.py"):
        with (tmp_path / changed).open("a") as file:
            file.write("# changed\n")
        after = compilation._cache_folder()
        assert after != before
        before = after


@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
def test_the_folder_follows_the_environment(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    assert compilation._cache_folder().is_relative_to(tmp_path)


def test_the_setting_of_numba_is_put_back() -> None:
    before = numba.config.CACHE_DIR

    @compilation.compiled
    def one() -> int:
        return 1

    assert one() == 1
    assert before == numba.config.CACHE_DIR
    assert before != compilation._CACHE_FOLDER
