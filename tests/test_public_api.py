"""The front door: what `import ceas` offers, and what it must not load."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import ceas

ROOMS = sorted(path.parent.name for path in Path(ceas.__file__).parent.glob("*/__init__.py"))
HEAVY = ("jax", "networkx", "numba", "numpy", "optax", "plotly", "pyarrow", "pydantic", "scipy", "sklearn")


@pytest.mark.parametrize("name", ceas.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(ceas, name) is not None


def test_public_names_are_sorted_and_said_once() -> None:
    names = [name for name in ceas.__all__ if name != "__version__"]
    assert len(set(names)) == len(names)
    assert {"Scenario", "load_scenario", "run"} <= set(names)
    assert len(names) <= 40


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "no_such_name"
    with pytest.raises(AttributeError, match=name):
        getattr(ceas, name)


@pytest.mark.parametrize("room", ROOMS)
def test_every_door_lists_names_that_resolve(room: str) -> None:
    door = importlib.import_module(f"ceas.{room}")
    assert door.__doc__
    for name in door.__all__:
        assert getattr(door, name) is not None, name


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return {name.split(".")[0] for name in done.stdout.split()} & set(HEAVY)


@pytest.mark.parametrize("statement", ["import ceas", "import ceas.cli", "import ceas.experiments"])
def test_the_door_is_light(statement: str) -> None:
    assert loaded_by(statement) == set()


def test_reading_a_scenario_does_not_load_the_simulator() -> None:
    loaded = loaded_by("from ceas.experiments import load_scenario; load_scenario('headline').scenario_id")
    assert loaded == {"pydantic"}


def test_help_does_not_load_the_simulator() -> None:
    statement = "from typer.testing import CliRunner; from ceas.cli import app; CliRunner().invoke(app, ['--help'])"
    assert loaded_by(statement) == set()


def test_the_check_of_lightness_sees_what_is_heavy() -> None:
    assert "numpy" in loaded_by("import ceas.physics")
