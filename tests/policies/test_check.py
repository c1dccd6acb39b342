"""Checking: every bad document is refused with its file, its line, its key and a reason, and all faults at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import policies
from policies import Policy, PolicyError, World, check
from policies.reading import BYTES_MOST
from tests.policies.facts import HEAD, write

WORLD = World(
    models=frozenset({"palimpsest-tiny"}),
    groups=frozenset({"red"}),
    tools=frozenset({"bash", "edit"}),
    timezones=frozenset({"UTC", "Europe/Berlin"}),
)
MODES = '[modes]\nallowed = ["ar", "diffusion", "linear_spec"]\ndefault = "linear_spec"\n'
GATE = '[[gates]]\nid = "g"\nmodes = ["diffusion"]\nmetric = "agreement"\nbelow = 0.5\naction = "hold"\n'
LOGPROB = '[[gates]]\nid = "g"\nmodes = ["ar"]\nmetric = "logprob_min"\naction = "hold"\n'
RULE = '[[rules]]\nid = "r"\nphase = "release"\naction = "hold"\n'
ADMIT, BLOCK = RULE.replace("release", "admit"), RULE.replace("release", "block")
ROUTE = '[[routes]]\nid = "t"\nwhen = { workflow = ["a"] }\nmodes = ["ar"]\n'
BUDGET = '[[budgets]]\nid = "b"\nper = "key"\nunit = "tokens"\namount = "10"\nwindow = "day"\n'

# Each: what stands below the modes, the key that is at fault, a word of the reason.
BAD = {
    "unknown metric": (GATE.replace("agreement", "mood"), "gates.g.metric", "mood"),
    "unknown mode of a gate": (GATE.replace('["diffusion"]', '["fast"]'), "gates.g.modes[0]", "fast"),
    "unknown action": (GATE.replace("hold", "frown"), "gates.g.action", "frown"),
    "unknown key of a gate": (GATE + "colour = 1\n", "gates.g", "colour"),
    "gate without id": (GATE.replace('id = "g"\n', ""), "gates[0]", "id"),
    "gate named twice": (GATE + GATE, "gates.g", "twice"),
    "gates that are no list": ("[gates]\nid = 1\n", "gates", "list"),
    "an id with a line break": (GATE.replace('"g"', '"g\\n"'), "gates.g\n.id", "regex"),
    "acceptance under diffusion": (GATE.replace("agreement", "acceptance"), "gates.g.metric", "never emitted in diffusion"),
    "agreement in ar": (GATE.replace('["diffusion"]', '["ar"]'), "gates.g.metric", "only in diffusion"),
    "a figure of answers in a gate": (GATE.replace("agreement", "redone_share"), "gates.g.metric", "figure of answers"),
    "threshold never crossed": (GATE.replace("0.5", "0.0"), "gates.g.below", "never cross"),
    "threshold above the range": (GATE.replace("below = 0.5", "above = 1.0"), "gates.g.above", "never cross"),
    "threshold always crossed": (GATE.replace("0.5", "1.5"), "gates.g.below", "always crosses"),
    "threshold without end": (LOGPROB + "above = -inf\n", "gates.g.above", "finite number"),
    "threshold without end, and one with": (LOGPROB + "above = -inf\nbelow = -1.0\n", "gates.g.above", "finite number"),
    "threshold that is always under": (LOGPROB + "below = inf\n", "gates.g.below", "finite number"),
    "threshold that is no number": (LOGPROB + "below = nan\n", "gates.g.below", "finite number"),
    "threshold of a rule without end": (
        RULE + 'when = { metric = "logprob_min", above = -inf }\n',
        "rules.r.when.above",
        "finite number",
    ),
    "no threshold": (GATE.replace("below = 0.5\n", ""), "gates.g.metric", "needs `below`"),
    "empty between": (GATE + "above = 0.6\n", "gates.g.below", "above 0.6 and below 0.5"),
    "auto in a gate": (GATE.replace('["diffusion"]', '["diffusion", "auto"]'), "gates.g.modes", "auto makes no text"),
    "refine without its table": (GATE.replace("hold", "refine"), "gates.g.refine", "needs a table"),
    "refine for a hold": (GATE + "refine = { threshold = 0.5, steps = 4 }\n", "gates.g.refine", "no other action"),
    "refine without end": (
        GATE.replace("hold", "refine") + 'refine = { threshold = 0.5, steps = 4, then = "refine" }\n',
        "gates.g.refine.then",
        "redo_ar, hold or block",
    ),
    "redo of causal text": (
        '[[gates]]\nid = "g"\nmodes = ["ar"]\nmetric = "logprob_min"\nbelow = -2.0\naction = "redo_ar"\n',
        "gates.g.action",
        "cannot be decoded again",
    ),
    "redo of any unit": (BLOCK.replace("hold", "redo_ar"), "rules.r.action", "name the mode diffusion alone"),
    "allow where a figure is missing": (GATE + 'on_missing = "allow"\n', "gates.g.on_missing", "annotated, held or blocked"),
    "unknown approval": (GATE + 'approval = "boss"\n', "gates.g.approval", "[approvals.boss]"),
    "gate that never decides": (
        GATE + GATE.replace('"g"', '"h"').replace("0.5", "0.4"),
        "gates.h",
        "gate 'g' is as strict",
    ),
    "gate of a mode that is not allowed": (
        '[[gates]]\nid = "g"\nmodes = ["quadratic_spec"]\nmetric = "logprob_min"\nbelow = -1.0\naction = "hold"\n',
        "gates.g.modes",
        "never judges",
    ),
    "redo of an answer": (RULE.replace("hold", "redo_ar"), "rules.r.action", "only a unit"),
    "figure at admission": (ADMIT + 'when = { metric = "tokens", above = 3 }\n', "rules.r.when.metric", "before there is text"),
    "paths at admission": (ADMIT + 'when = { paths = ["a"] }\n', "rules.r.when.paths", "finished answer only"),
    "tools called in a block": (BLOCK + 'when = { tools_called = ["bash"] }\n', "rules.r.when.tools_called", "finished answer"),
    "threshold without metric": (RULE + "when = { below = 1 }\n", "rules.r.when.metric", "needs a metric"),
    "acceptance of every mode": (
        BLOCK + 'when = { metric = "acceptance", below = 0.5 }\n',
        "rules.r.when.metric",
        "never emitted in ar, diffusion",
    ),
    "no tools, and some": (
        ADMIT + 'when = { has_tools = false, tools_offered = ["bash"] }\n',
        "rules.r.when.has_tools",
        "contradicts",
    ),
    "no latency is both": (
        ADMIT + "when = { latency_target_ms = { least = 9, most = 8 } }\n",
        "rules.r.when.latency_target_ms",
        "at least 9 and at most 8",
    ),
    "a window that never opens": (
        ADMIT + 'when = { time = { after = "09:00", before = "09:00" } }\n',
        "rules.r.when.time",
        "never holds",
    ),
    "no such hour": (ADMIT + 'when = { time = { after = "25:00" } }\n', "rules.r.when.time.after", "regex"),
    "empty list": (ADMIT + "when = { workflow = [] }\n", "rules.r.when.workflow", "length >= 1"),
    "unknown group": (ADMIT + 'when = { group = ["green"] }\n', "rules.r.when.group", "known: red"),
    "unknown model": (ADMIT + 'when = { model = ["gpt"] }\n', "rules.r.when.model", "known: palimpsest-tiny"),
    "unknown tool": (RULE + 'when = { tools_called = ["zsh"] }\n', "rules.r.when.tools_called", "known: bash, edit"),
    "unknown tools by glob": (ADMIT + 'when = { tools_offered = ["z*"] }\n', "rules.r.when.tools_offered", "'z*'"),
    "rule of a mode that is not allowed": (
        ADMIT + 'when = { mode = ["quadratic_spec"] }\n',
        "rules.r.when.mode",
        "never matches",
    ),
    "rule that never decides": (
        RULE + RULE.replace('"r"', '"s"') + 'when = { risk = ["high"] }\n',
        "rules.s",
        "rule 'r' matches whenever",
    ),
    "route to a forbidden mode": (ROUTE.replace('["ar"]', '["quadratic_spec"]'), "routes.t.modes", "not permitted"),
    "route that asks for a mode": (ROUTE.replace("workflow", "mode").replace('"a"', '"ar"'), "routes.t.when.mode", "chooses"),
    "route wider than its mode": (
        "[modes.ar.block_length]\nmost = 16\n" + ROUTE + "block_length = { most = 32 }\n",
        "routes.t.block_length",
        "1..16",
    ),
    "route with a threshold in ar": (ROUTE + "threshold = { default = 0.5 }\n", "routes.t.threshold", "confidence"),
    "route never taken": (ROUTE + ROUTE.replace('"t"', '"u"'), "routes.u", "route 't' comes first"),
    "approval by nobody known": ('[approvals.x]\ngroups = ["green"]\n', "approvals.x.groups", "known: red"),
    "hold beyond expiry": ("[approvals.x]\nhold_seconds = 9\nexpires_seconds = 8\n", "approvals.x.hold_seconds", "outlast"),
    "quorum of none": ("[approvals.x]\nquorum = 0\n", "approvals.x.quorum", ">= 1"),
    "budget of zero": (BUDGET.replace('"10"', '"0.00"'), "budgets.b.amount", "zero"),
    "budget that is negative": (BUDGET.replace('"10"', '"-1"'), "budgets.b.amount", "regex"),
    "budget as a number": (BUDGET.replace('"10"', "10"), "budgets.b.amount", "Expected `str`"),
    "half a token": (BUDGET.replace('"10"', '"1.5"'), "budgets.b.amount", "whole numbers"),
    "budget without window": (BUDGET.replace('window = "day"\n', ""), "budgets.b.window", "needs a window"),
    "concurrency in a window": (BUDGET.replace("tokens", "concurrency"), "budgets.b.window", "needs a window"),
    "workflow unsaid": (BUDGET.replace('"key"', '"workflow"'), "budgets.b.workflow", "says which"),
    "downgrade to nothing": (BUDGET + 'on_exceed = "downgrade_mode"\n', "budgets.b.downgrade_to", "needs it"),
    "downgrade to a forbidden mode": (
        BUDGET + 'on_exceed = "downgrade_mode"\ndowngrade_to = "quadratic_spec"\n',
        "budgets.b.downgrade_to",
        "not permitted",
    ),
    "money without prices": (BUDGET.replace("tokens", "money"), "prices.ar", "needs a price"),
    "price in words": ('[prices.ar]\nforwards = "cheap"\n', "prices.ar.forwards", "regex"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_document_is_refused_with_place_and_reason(tmp_path: Path, name: str) -> None:
    """Each fault is found by `check` at its key, with a reason, in its file and at a line of the table that says it."""
    tables, key, word = BAD[name]
    path = write(tmp_path, "bad", HEAD + MODES + tables)
    found = check(path, WORLD)
    assert isinstance(found, list)
    ours = [finding for finding in found if finding.path == key]
    assert any(word in finding.reason for finding in ours), [str(finding) for finding in found]
    lines = path.read_text().splitlines()
    for finding in ours:
        assert finding.file == path
        assert finding.line is None or 0 < finding.line <= len(lines)
    unplaced = [finding for finding in ours if finding.line is None]
    assert unplaced == [] or key == "prices.ar"


def test_what_does_not_fit_is_told_all_at_once_and_with_what_would(tmp_path: Path) -> None:
    """Keys that nobody knows, words that are none and values of a wrong type are found in one run, each at its line."""
    text = HEAD + MODES.replace('["ar"', '["arr"') + "[limits]\nmax_jokes = 3\nmax_tokens = 'x'\n"
    text += GATE.replace("agreement", "mood").replace("hold", "frown") + "[approvals.x]\nquorum = 0\n"
    path = write(tmp_path, "bad", text)
    found = check(path, WORLD)
    assert isinstance(found, list)
    lines = text.splitlines()
    told = {(finding.path, finding.reason): lines[(finding.line or 0) - 1] for finding in found}
    modes = "no mode 'arr'; known: ar, diffusion, linear_spec, quadratic_spec, auto"
    assert told.pop(("modes.allowed[0]", modes)).startswith("allowed = ")
    assert told.pop(("limits", "Object contains unknown field `max_jokes`")) == "max_jokes = 3"
    assert told.pop(("limits.max_tokens", "Expected `int`, got `str`")) == "max_tokens = 'x'"
    assert told.pop(("approvals.x.quorum", "Expected `int` >= 1")) == "quorum = 0"
    assert {path for path, _ in told} == {"gates.g.metric", "gates.g.action"} and len(told) == 2


@pytest.mark.parametrize("name", [name for name in BAD if "known" not in BAD[name][2] and "z*" not in BAD[name][2]])
def test_what_is_wrong_anywhere_does_not_load(tmp_path: Path, name: str) -> None:
    """A fault that needs no knowledge of the world keeps the document from being loaded at all."""
    path = write(tmp_path, "bad", HEAD + MODES + BAD[name][0])
    with pytest.raises(PolicyError) as caught:
        policies.load(path)
    assert caught.value.file == path and caught.value.reason and str(path) in str(caught.value)


def test_words_above_the_tables_are_checked(tmp_path: Path) -> None:
    """A time zone that does not exist, a figure whose lack is refined, an overridable tenant are found at their lines."""
    head = HEAD + 'timezone = "Mars"\non_missing = "refine"\noverridable = ["tenant"]\n'
    found = check(write(tmp_path, "bad", head + MODES), WORLD)
    assert isinstance(found, list)
    assert sorted((finding.path, finding.line) for finding in found) == [("on_missing", 4), ("overridable", 5), ("timezone", 3)]


def test_names_are_not_checked_where_the_world_is_not_known(tmp_path: Path) -> None:
    """Without a world, models, groups, tools and time zones may be any: the document loads and checks."""
    text = HEAD + 'timezone = "Mars"\n' + MODES + ADMIT + 'when = { group = ["green"], model = ["x"], tools_offered = ["y"] }\n'
    assert isinstance(check(write(tmp_path, "good", text)), Policy)


def test_all_faults_are_found_at_once(tmp_path: Path) -> None:
    """`check` names every fault of a document, each at the line of its key."""
    text = HEAD + MODES + BUDGET.replace('"10"', '"0"') + GATE.replace("0.5", "2.0") + RULE.replace("hold", "refine")
    path = write(tmp_path, "bad", text)
    found = check(path)
    assert isinstance(found, list)
    lines = path.read_text().splitlines()
    placed = {finding.path: lines[(finding.line or 0) - 1] for finding in found}
    assert placed["budgets.b.amount"] == 'amount = "0"'
    assert placed["gates.g.below"] == "below = 2.0"
    assert placed["rules.r.action"] == 'action = "refine"'


def test_a_fallback_needs_its_mode(tmp_path: Path) -> None:
    """A gate that decodes again in `ar` is refused where `ar` is not allowed, as an action and as the end of refining."""
    modes = '[modes]\nallowed = ["diffusion"]\ndefault = "diffusion"\n'
    refine = 'action = "refine"\nrefine = { threshold = 0.9, steps = 4, then = "redo_ar" }\n'
    for action, key in (('action = "redo_ar"\n', "gates.g.action"), (refine, "gates.g.refine.then")):
        found = check(write(tmp_path, "bad", HEAD + modes + GATE.replace('action = "hold"\n', action)))
        assert isinstance(found, list)
        assert [(finding.path, "modes.allowed" in finding.reason) for finding in found] == [(key, True)]


def test_a_fault_is_placed_in_the_file_that_says_it(tmp_path: Path) -> None:
    """What a parent says wrong is reported in the parent's file, what a child says wrong in the child's."""
    above = write(tmp_path, "above", HEAD + MODES + GATE.replace("0.5", "1.5"))
    below = write(
        tmp_path, "below", HEAD + 'inherit = "above"\n\n[[budgets]]\nid = "b"\nper = "key"\nunit = "tokens"\namount = "0"\n'
    )
    found = check(below)
    assert isinstance(found, list)
    places = {(finding.path, finding.file.name, finding.line) for finding in found}
    assert ("gates.g.below", above.name, 10) in places
    assert ("budgets.b.amount", below.name, 9) in places


def test_an_inherited_gate_may_stand_idle(tmp_path: Path) -> None:
    """A child may give up a mode although its parent judges it: only a gate of its own would be a mistake."""
    write(tmp_path, "above", HEAD + MODES + GATE)
    child = HEAD + 'inherit = "above"\n[modes]\nallowed = ["ar", "linear_spec"]\n'
    assert isinstance(check(write(tmp_path, "below", child)), Policy)


def test_an_inherited_rule_may_have_become_needless(tmp_path: Path) -> None:
    """A child may tighten a rule of its parent so far that another never decides: it cannot drop that one."""
    narrow = RULE.replace('"r"', '"s"').replace('"hold"', '"block"') + 'when = { risk = ["high"] }\n'
    write(tmp_path, "above", HEAD + MODES + RULE + narrow)
    child = HEAD + 'inherit = "above"\n[[rules]]\nid = "r"\naction = "block"\n'
    assert isinstance(check(write(tmp_path, "below", child)), Policy)


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"a = " + b"[" * 20_000 + b"]" * 20_000, "nested"),
        (b".".join([b"a"] * 400_000) + b" = 1", "nested"),
        (b"[" + b" . ".join([b"'a b'"] * 100_000) + b"]", "nested"),
        (b"# " + b"x" * BYTES_MOST, "longer than"),
        (b"a = 1" + b"0" * 5_000, "TOML"),
        (b"a = 'x\x00'", "TOML"),
        (b'"a\\u0000" = 1', "must be"),
        (b"\xff\xfe", "TOML"),
        (b"a = 1\na = 2\n", "TOML"),
    ],
    ids=["deep", "deep key", "deep table", "long", "huge number", "control", "strange key", "not UTF-8", "twice"],
)
def test_a_hostile_file_is_a_finding(tmp_path: Path, raw: bytes, word: str) -> None:
    """A file that is too long, too deep or no TOML at all is one finding, never another exception."""
    path = tmp_path / "bad.toml"
    path.write_bytes(raw)
    found = check(path)
    assert isinstance(found, list) and len(found) == 1 and word in found[0].reason


def test_a_long_chain_of_parents_is_refused(tmp_path: Path) -> None:
    """Documents inherit through a few parents, not through hundreds."""
    write(tmp_path, "p0", HEAD + MODES)
    for index in range(1, 20):
        write(tmp_path, f"p{index}", HEAD + f'inherit = "p{index - 1}"\n')
    assert isinstance(check(tmp_path / "p8.toml"), Policy)
    found = check(tmp_path / "p19.toml")
    assert isinstance(found, list) and found[0].path == "inherit" and "inherit from one nearer" in found[0].reason


@pytest.mark.parametrize(("phase", "key"), [("admit", "workflow"), ("release", "paths")])
def test_many_rules_that_share_their_globs_are_checked_in_seconds(tmp_path: Path, phase: str, key: str) -> None:
    """As many rules as a document may have, each with a long list that is nearly that of the others, take no minutes."""
    shared = ", ".join(f'"p{index}"' for index in range(62))
    rules = [
        f'[[rules]]\nid = "r{own}"\nphase = "{phase}"\naction = "hold"\nwhen = {{ {key} = [{shared}, "own{own}", "*.x"] }}\n'
        for own in range(256)
    ]
    assert isinstance(check(write(tmp_path, "many", HEAD + MODES + "".join(rules))), Policy)


def test_a_syntax_error_has_its_line(tmp_path: Path) -> None:
    """What is not TOML is reported at the line where it stops being TOML."""
    found = check(write(tmp_path, "bad", HEAD + "modes = \n"))
    assert isinstance(found, list)
    assert (found[0].line, found[0].path) == (3, "")
