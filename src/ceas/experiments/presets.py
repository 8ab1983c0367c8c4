"""The hardware presets as tables: what each platform has, and where each number stands."""

from typing import Any

from ceas.physics import load_preset, preset_names

__all__ = ["document_preset", "document_presets"]


def document_presets() -> list[dict[str, Any]]:
    """Return a row per preset: its name, how it heralds, what its numbers are of, and what no source states."""
    presets = [load_preset(name) for name in preset_names()]
    return [
        {
            "preset": preset.name,
            "platform": preset.platform,
            "heralds by": preset.protocol,
            "numbers": len(preset.provenance),
            "without a source": ", ".join(name for name in preset.missing if not name.startswith("communication_")),
        }
        for preset in presets
    ]


def document_preset(name: str) -> list[dict[str, Any]]:
    """Return a row per number of a preset: its value and unit, its source and the place there.

    Raises:
        UnknownNameError: There is no such preset.
    """
    return [
        {
            "quantity": quantity,
            "value": stated.value,
            "unit": stated.unit,
            "source": stated.source,
            "place": stated.place,
        }
        for quantity, stated in load_preset(name).provenance.items()
    ]
