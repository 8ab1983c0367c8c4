"""The message-flow picture of the consensus is what the machines do."""

from pathlib import Path
from xml.etree import ElementTree as ET

from ceas.experiments.consensus_flow import record_flow
from ceas.report.message_flow import consensus_flow_picture

PICTURE = Path(__file__).parents[2] / "docs" / "consensus-flow.svg"
DRAW = "python -m ceas.report.message_flow docs/consensus-flow.svg"


def sent(silent: tuple[int, ...]) -> dict[str, tuple[float, int]]:
    """Return when each kind of message was sent last, and how many."""
    messages, _ = record_flow(4, silent=silent)
    kinds = {one.kind for one in messages}
    return {
        kind: (max(one.sent for one in messages if one.kind == kind), sum(one.kind == kind for one in messages))
        for kind in kinds
    }


def test_the_committed_picture_is_what_the_code_draws() -> None:
    assert PICTURE.read_text("utf-8") == consensus_flow_picture() + "\n", f"draw it again: {DRAW}"


def test_the_good_case_takes_eight_delays_and_one_broadcast_a_step() -> None:
    kinds = ("PROPOSE", "ECHO", "READY", "SET_VOTE 1", "SET_VOTE 2", "SET_VOTE 3", "SET_VOTE 4", "DECISION")
    times = (0, 1, 2, 4, 5, 6, 7, 8)
    expected = {kind: (time, 12) for kind, time in zip(kinds, times, strict=True)} | {"SET_PROPOSAL": (3, 3)}
    assert sent(()) == expected
    _, steps = record_flow(4)
    assert [(one.at, one.what) for one in steps] == [
        (3, "deliver 4 values"),
        (8, "decide {0, 1, 2, 3}"),
        (8, "conclude"),
        (9, "halt"),
    ]
    assert all(one.nodes == (0, 1, 2, 3) for one in steps)


def test_a_silent_leader_costs_its_view() -> None:
    times = {kind: time for kind, (time, _) in sent((0,)).items()}
    assert [times[kind] for kind in ("VIEW_CHANGE", "PROOF", "SUGGEST", "SET_PROPOSAL", "SET_VOTE 4")] == [
        *(13, 14, 14, 15, 19),
    ]
    _, steps = record_flow(4, silent=(0,))
    assert (20, "decide {1, 2, 3}", (1, 2, 3)) in [(one.at, one.what, one.nodes) for one in steps]


def test_all_text_of_the_picture_is_inside_it() -> None:
    root = ET.fromstring(consensus_flow_picture())
    space = "{http://www.w3.org/2000/svg}"
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    charts = root.findall(f"{space}g")
    assert len(charts) == 2
    for chart in charts:
        left, top = map(float, chart.attrib["transform"].removeprefix("translate(").removesuffix(")").split())
        for text in chart.iter(f"{space}text"):
            assert left + float(text.attrib["x"]) + 7 * len(text.text or "") / 2 < width
            assert top + float(text.attrib["y"]) < height
