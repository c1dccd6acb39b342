"""How pages spell figures, times and differences, and where addresses lead."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import policies
from gateway.ui.charts import WIDTH, bars, columns
from gateway.ui.policy_outline import difference, outline, pretty, spelled
from gateway.ui.rendering import Here
from gateway.ui.words import ago, grouped, iso, share, short

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (7199, "1 h ago"), (86_400, "1 day ago"),
     (20 * 86_400, "20 days ago"), (-90, "in 1 min"), (40 * 86_400, "2026-10-17")],
)  # fmt: skip
def test_times_are_told_in_one_unit(seconds: int, said: str) -> None:
    """A time near now is a number and a unit, one far away a date."""
    assert ago(NOW - timedelta(seconds=seconds), NOW) == said


def test_figures_and_digests() -> None:
    """Thousands are grouped, fractions have two places, digests four digits at each end, and what is unknown is said."""
    assert (grouped(1234567), grouped(1.0), share(0.125), share(None)) == ("1\u202f234\u202f567", "1.00", "12.5%", "unknown")
    assert (short(bytes(range(32))), short("abc"), iso(0)) == ("0001…1e1f", "abc", "1970-01-01T00:00:00+00:00")


@given(st.dictionaries(st.text(min_size=1), st.text()), st.text())
def test_an_address_keeps_what_is_not_changed(query: dict[str, str], value: str) -> None:
    """Another address of a page differs in what was asked for alone, whatever its parameters hold."""
    here = Here("/generations", query)
    changed = here(after=value)
    assert changed.startswith("/generations") and "<" not in changed and '"' not in changed and " " not in changed
    assert here(after=None) == Here("/generations", {name: each for name, each in query.items() if name != "after"})()


@given(st.lists(st.floats(0, 1e9), max_size=40))
def test_charts_stay_on_their_ground(values: list[float]) -> None:
    """Every bar and column lies within its chart."""
    figures = [(str(place), value, f"{value}") for place, value in enumerate(values)]
    for chart in (bars("", figures), columns("", figures)):
        for mark in chart.marks:
            assert mark.x >= 0 and mark.y >= -1e-6 and mark.x + mark.width <= WIDTH + 1e-6
            assert mark.y + mark.height <= chart.height + 1e-6


def test_no_two_policies_look_the_same() -> None:
    """What turns the direction of text, or has no shape, is written out where people compare two documents or read one."""
    old, new = ('{"reason": "only admins"}', '{"reason": "only\u202e admins\u200b"}')
    assert [line.text for line in difference(old, new) if line.sign == "+"] == ['  "reason": "only⟨U+202E⟩ admins⟨U+200B⟩"']
    assert "\u202e" not in pretty(new)
    assert spelled(["a\u202e"]) == "a⟨U+202E⟩"


def test_a_policy_is_told_whole() -> None:
    """Everything that the shipped policies say stands in the outline, and equal documents have no difference."""
    for name in ("baseline", "strict"):
        policy = policies.load(policies.BASELINE.with_name(f"{name}.toml"))
        told = json.dumps(
            [(section.name, section.pairs, section.columns, section.rows) for section in outline(policy.document)]
        )
        named = [*(rule.id for rule in policy.document.rules), *(gate.id for gate in policy.document.gates)]
        assert [each for each in named if each not in told] == []
        assert "()" not in told and "diffusion" in told
        text = policies.written(policy)
        assert difference(text, text) == []
    other = policies.written(policies.load(policies.BASELINE))
    assert {"@", " ", "+"} <= {line.sign for line in difference(other, text)}
