"""A child may only tighten: each way to loosen a gate, rule, route, approval, budget or price is found at its key."""

from __future__ import annotations

from pathlib import Path

import pytest

import policies
from policies import Policy, PolicyError, check
from tests.policies.facts import HEAD, write

PARENT = """
on_missing = "block"
risk_unsaid = "medium"
timezone = "UTC"
[modes]
allowed = ["ar", "diffusion"]
default = "diffusion"
[[gates]]
id = "sure"
modes = ["diffusion"]
metric = "confidence_min"
below = 0.5
least_tokens = 4
action = "refine"
refine = { threshold = 0.9, steps = 16, attempts = 1, then = "hold" }
approval = "boss"
[[gates]]
id = "wild"
modes = ["ar", "diffusion"]
metric = "steps"
above = 40.0
action = "hold"
approval = "boss"
[[rules]]
id = "risky"
phase = "admit"
when = { risk = ["medium", "high"], time = { after = "08:00", before = "18:00" } }
action = "hold"
approval = "boss"
[[rules]]
id = "keys"
phase = "release"
when = { paths = ["secrets/prod/key"] }
action = "hold"
[[routes]]
id = "careful"
when = { workflow = ["bills*"] }
modes = ["diffusion", "ar"]
block_length = { default = 8, least = 8, most = 16, choices = [8, 16] }
seed_first = { client_may_set = false }
[approvals.boss]
groups = ["red", "blue"]
quorum = 2
expires_seconds = 600
test_result_required = true
[approvals.clerk]
expires_seconds = 600
on_expire = "release"
[[budgets]]
id = "day"
per = "key"
unit = "money"
amount = "10.50"
window = "day"
workflow = "bills*"
on_exceed = "hold"
approval = "boss"
[prices.ar]
answer_tokens = "1.5"
[prices.diffusion]
answer_tokens = "1"
"""

GATE, WILD, RULE = '[[gates]]\nid = "sure"\n', '[[gates]]\nid = "wild"\n', '[[rules]]\nid = "risky"\n'
KEYS = '[[rules]]\nid = "keys"\n'
ROUTE, BUDGET = '[[routes]]\nid = "careful"\n', '[[budgets]]\nid = "day"\n'
BOSS, CLERK = "[approvals.boss]\n", "[approvals.clerk]\n"

LOOSER = [
    (GATE + 'modes = ["ar"]\n', "gates.sure.modes"),
    (GATE + 'metric = "agreement"\n', "gates.sure.metric"),
    (GATE + "below = 0.4\n", "gates.sure.below"),
    (WILD + "above = 41.0\n", "gates.wild.above"),
    (WILD + "below = 50.0\n", "gates.wild.below"),
    (GATE + "least_tokens = 5\n", "gates.sure.least_tokens"),
    (WILD + 'action = "annotate"\n', "gates.wild.action"),
    (GATE + 'on_missing = "hold"\n', "gates.sure.on_missing"),
    ('on_missing = "hold"\n', "on_missing"),
    (GATE + "refine = { threshold = 0.8 }\n", "gates.sure.refine.threshold"),
    (GATE + "refine = { steps = 15 }\n", "gates.sure.refine.steps"),
    (GATE + "refine = { attempts = 2 }\n", "gates.sure.refine.attempts"),
    (GATE + 'refine = { then = "redo_ar" }\n', "gates.sure.refine.then"),
    (GATE + 'approval = "default"\n', "gates.sure.approval"),
    (WILD + 'approval = "default"\n', "gates.wild.approval"),
    (RULE + 'phase = "release"\n', "rules.risky.phase"),
    (RULE + 'when = { risk = ["high"] }\n', "rules.risky.when"),
    (RULE + 'when = { group = ["red"] }\n', "rules.risky.when"),
    (RULE + 'when = { time = { after = "09:00" } }\n', "rules.risky.when"),
    (RULE + 'when = { time = { days = ["sun"] } }\n', "rules.risky.when"),
    (RULE + "when = { has_tools = true }\n", "rules.risky.when"),
    (RULE + 'action = "annotate"\n', "rules.risky.action"),
    (KEYS + 'when = { paths = ["secrets/*"] }\n', "rules.keys.when"),
    (RULE + 'approval = "default"\n', "rules.risky.approval"),
    ('risk_unsaid = "low"\n', "risk_unsaid"),
    ('timezone = "Europe/Berlin"\n', "timezone"),
    ('overridable = ["rules"]\n', "overridable"),
    (ROUTE + 'when = { workflow = ["bills-eu"] }\n', "routes.careful.when"),
    (ROUTE + 'when = { workflow = ["*"] }\n', "routes.careful.when"),
    (ROUTE + "block_length = { most = 32, choices = [] }\n", "routes.careful.block_length"),
    (ROUTE + "block_length = { choices = [] }\n", "routes.careful.block_length.choices"),
    (ROUTE + "seed_first = { client_may_set = true }\n", "routes.careful.seed_first.client_may_set"),
    (BOSS + "groups = []\n", "approvals.boss.groups"),
    (BOSS + 'groups = ["red", "green"]\n', "approvals.boss.groups"),
    (BOSS + "quorum = 1\n", "approvals.boss.quorum"),
    (BOSS + "separation_of_duties = false\n", "approvals.boss.separation_of_duties"),
    (BOSS + "expires_seconds = 601\n", "approvals.boss.expires_seconds"),
    (BOSS + 'on_expire = "release"\n', "approvals.boss.on_expire"),
    (CLERK + "expires_seconds = 599\n", "approvals.clerk.expires_seconds"),
    (BOSS + "edit_allowed = true\n", "approvals.boss.edit_allowed"),
    (BOSS + "test_result_required = false\n", "approvals.boss.test_result_required"),
    ("[approvals.default]\nedit_allowed = true\n", "approvals.default.edit_allowed"),
    ("[modes.diffusion]\nthreshold = { default = 0.9 }\n", "modes.diffusion.threshold"),
    (BUDGET + 'per = "tenant"\n', "budgets.day.per"),
    (BUDGET + 'unit = "gpu_seconds"\n', "budgets.day.unit"),
    (BUDGET + 'window = "hour"\n', "budgets.day.window"),
    (BUDGET + 'workflow = "bills-eu"\n', "budgets.day.workflow"),
    (BUDGET + 'amount = "10.51"\n', "budgets.day.amount"),
    (BUDGET + 'on_exceed = "downgrade_mode"\ndowngrade_to = "ar"\n', "budgets.day.on_exceed"),
    (BUDGET + 'approval = "default"\n', "budgets.day.approval"),
    ('[prices]\ncurrency = "EUR"\n', "prices.currency"),
    ('[modes]\non_disallowed = "default"\n', "modes.on_disallowed"),
    ('[prices.ar]\nanswer_tokens = "1.49"\n', "prices.ar.answer_tokens"),
]

TIGHTER = [
    GATE + 'modes = ["diffusion"]\nbelow = 0.6\nleast_tokens = 1\n',
    GATE + 'refine = { threshold = 0.95, steps = 20, then = "block" }\n',
    WILD + "above = 30.0\n",
    WILD + 'action = "block"\n',
    RULE + 'when = { risk = ["low", "medium", "high"], time = { after = "07:00", before = "19:00" } }\n',
    RULE + 'action = "block"\n',
    KEYS + 'when = { paths = ["secrets/**"] }\n',
    ROUTE + 'modes = ["ar"]\n',
    ROUTE + "block_length = { default = 8, least = 8, most = 8, choices = [8] }\n",
    BOSS + 'groups = ["red"]\nquorum = 3\nexpires_seconds = 60\nhold_seconds = 30\n',
    CLERK + 'expires_seconds = 300\non_expire = "reject"\n',
    CLERK + "expires_seconds = 601\n",
    BUDGET + 'amount = "10.5"\non_exceed = "block"\n',
    '[prices.ar]\nanswer_tokens = "1.50"\nforwards = "2"\n',
    '[[gates]]\nid = "more"\nmodes = ["ar"]\nmetric = "tokens"\nabove = 8.0\naction = "annotate"\n',
    '[[rules]]\nid = "more"\nphase = "release"\naction = "hold"\n',
    '[[routes]]\nid = "more"\nwhen = { workflow = ["x"] }\nmodes = ["ar"]\n',
]


def family(folder: Path, below: str, above: str = "") -> Path:
    """A child of PARENT that says `below`."""
    write(folder, "parent", HEAD + above + PARENT)
    return write(folder, "child", HEAD + 'inherit = "parent"\n' + below)


@pytest.mark.parametrize(("below", "key"), LOOSER, ids=[f"{key}-{index}" for index, (_, key) in enumerate(LOOSER)])
def test_each_loosening_is_found(tmp_path: Path, below: str, key: str) -> None:
    """A child that grants what its parent refuses does not load, and the grant is placed at its key in the child's file."""
    path = family(tmp_path, below)
    with pytest.raises(PolicyError, match="only tighten 'parent'") as caught:
        policies.load(path)
    assert (caught.value.path, caught.value.file) == (key, path)
    assert caught.value.line is not None


def test_a_bound_of_nothing_is_told_as_such(tmp_path: Path) -> None:
    """Where the parent's threshold is zero its finding says so; a gate on any revision at all has that one."""
    gate = '[[gates]]\nid = "any"\nmodes = ["diffusion"]\nmetric = "revisions"\nabove = 0.0\naction = "hold"\n'
    write(tmp_path, "parent", HEAD + PARENT + gate)
    with pytest.raises(PolicyError, match=r"the parent's is 0\.0; a child may only tighten"):
        policies.load(write(tmp_path, "child", HEAD + 'inherit = "parent"\n[[gates]]\nid = "any"\nabove = 1.0\n'))


@pytest.mark.parametrize("below", TIGHTER)
def test_tightening_is_let_through(tmp_path: Path, below: str) -> None:
    """A child that narrows, lowers, adds or asks for more loads."""
    assert policies.load(family(tmp_path, below)).document.inherit == "parent"


@pytest.mark.parametrize(("below", "key"), LOOSER, ids=[f"{key}-{index}" for index, (_, key) in enumerate(LOOSER)])
def test_a_parent_may_let_a_key_be_loosened(tmp_path: Path, below: str, key: str) -> None:
    """What the parent lists as overridable, by its key or a table around it, is the child's; but never the list itself."""
    outer = key.rpartition(".")[0] or key
    found = check(family(tmp_path, below, f'overridable = ["{outer}"]\n'))
    loosened = [] if isinstance(found, Policy) else [finding for finding in found if "only tighten" in finding.reason]
    if key == "overridable":
        assert [finding.path for finding in loosened] == ["overridable"]
    else:
        assert key not in [finding.path for finding in loosened]


def test_an_overridable_key_is_not_handed_on_by_a_child(tmp_path: Path) -> None:
    """A grandchild may loosen only what every document above it lets it: a child cannot add to the list."""
    family(tmp_path, "", 'overridable = ["gates.sure.below"]\n')
    kept = 'inherit = "child"\n' + GATE + "below = 0.1\n"
    assert policies.load(write(tmp_path, "kept", HEAD + kept)).document.gates[0].below == 0.1
    write(tmp_path, "child", HEAD + 'inherit = "parent"\noverridable = []\n')
    with pytest.raises(PolicyError) as caught:
        policies.load(write(tmp_path, "last", HEAD + kept))
    assert caught.value.path == "gates.sure.below"


def test_entries_merge_by_their_id(tmp_path: Path) -> None:
    """A child's entry changes what it names of the parent's, a new one comes after the parent's, none can be dropped."""
    below = (
        GATE + "below = 0.6\n" + '[[gates]]\nid = "new"\nmodes = ["ar"]\nmetric = "tokens"\nabove = 8.0\naction = "annotate"\n'
    )
    gates = policies.load(family(tmp_path, below)).document.gates
    assert [gate.id for gate in gates] == ["sure", "wild", "new"]
    assert (gates[0].below, gates[0].least_tokens, gates[0].approval) == (0.6, 4, "boss")


def test_more_silence_is_not_more_strictness(tmp_path: Path) -> None:
    """Taking silence for a higher risk is a loosening where a rule of the parent asks for the lower one alone."""
    write(tmp_path, "parent", HEAD + '[modes]\nallowed = ["ar"]\ndefault = "ar"\n[[rules]]\nid = "r"\nphase = "admit"\n'
          'when = { risk = ["low"] }\naction = "hold"\n')  # fmt: skip
    with pytest.raises(PolicyError) as caught:
        policies.load(write(tmp_path, "child", HEAD + 'inherit = "parent"\nrisk_unsaid = "high"\n'))
    assert caught.value.path == "risk_unsaid"
