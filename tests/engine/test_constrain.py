"""Laws of constraints: what may be picked is exactly what can still become an accepted text, and no source does harm."""

from __future__ import annotations

import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

from engine.constrain import COMPILED, Constrainer, Matcher
from engine.errors import ConstraintBroken, InvalidRequest
from engine.events import FinishReason
from engine.request import Constraint, ConstraintKind, Mode
from engine.tokenizer import Tokenizer
from tests.engine.constraints import CONSTRAINER, EOS, MOST, TOKENIZER, VOCAB, grammar, objects, regex, schema, steps
from tests.engine.harness import asked, decoded, finished, model, output
from tests.engine.small import TINY

NO_TEXT = next(i for i in range(TOKENIZER.size) if TOKENIZER.decode_bytes([i]) == b"\xff")


PERSON = schema(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 3},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)
SUM = grammar('start: term ("+" term)*\nterm: NUMBER | "(" start ")"\nNUMBER: /[0-9]{1,3}/')
SHORT = grammar('start: a "!"\na[max_tokens=3]: /[xy]*/')
ANYTHING = regex("(?s:.*)")
DEAD_END = grammar('start: "a" B | "c"\nB: /[a-c]/ & /[d-e]/')
SAMPLES = (PERSON, SUM, SHORT, ANYTHING, Constraint(ConstraintKind.JSON_OBJECT), regex("(ab|a)*c?|é{2,3}"))


def told(constraint: Constraint, seed: int, greedy: bool) -> str:
    """A text made of allowed ids: picked at random, or always the allowed one that a fixed ranking likes best."""
    matcher = CONSTRAINER.matcher(constraint)
    ranking = np.random.default_rng(seed).permutation(VOCAB)
    ids: list[int] = []
    while EOS not in ids:
        row = matcher.allowed()
        liked = int(np.where(row, ranking, -1).argmax())
        ids.append(liked if greedy else int(random.Random(seed + len(ids)).choice(np.flatnonzero(row))))
        matcher.accept(ids[-1:])
        assert len(ids) < MOST
    return TOKENIZER.decode_bytes(ids).decode("utf-8")


def accepts(constraint: Constraint, text: str) -> bool:
    """Whether the whole text may be the answer."""
    try:
        CONSTRAINER.matcher(constraint).accept([*TOKENIZER.encode(text), EOS])
    except ConstraintBroken:
        return False
    return True


def fits(value: Any, wanted: dict[str, Any]) -> bool:
    """Whether a value is as a schema of the family below wants it."""
    match wanted:
        case {"enum": options}:
            return value in options
        case {"type": "null"}:
            return value is None
        case {"type": "boolean"}:
            return isinstance(value, bool)
        case {"type": "integer", "minimum": least, "maximum": most}:
            return isinstance(value, int) and not isinstance(value, bool) and bool(least <= value <= most)
        case {"type": "string", "maxLength": most}:
            return isinstance(value, str) and len(value) <= most
        case {"type": "array", "items": items, "maxItems": most}:
            return isinstance(value, list) and len(value) <= most and all(fits(item, items) for item in value)
        case {"properties": properties, "required": required}:
            known = isinstance(value, dict) and set(required) <= set(value) <= set(properties)
            return known and all(fits(item, properties[name]) for name, item in value.items())
    raise AssertionError(wanted)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


LEAVES = st.one_of(
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"type": "string", "maxLength": 3}]),
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span}, st.integers(-99, 99), st.integers(0, 99)
    ),
    st.builds(lambda options: {"enum": options}, st.lists(NAMES, min_size=1, max_size=3)),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "maxItems": 2}, inner),
        st.builds(objects, st.dictionaries(NAMES, inner, max_size=3), st.integers(1, 3)),
    ),
    max_leaves=5,
)
PIECES = st.recursive(
    st.one_of(st.sampled_from(["a", "ab", "[b-e]", "[^a-y]", ".", "é", " ", r"\.", "/", r"\n", '"']), st.just("")),
    lambda inner: st.one_of(
        st.builds("({}|{})".format, inner, inner),
        st.builds("{}{}".format, inner, inner),
        st.builds("({}){{0,2}}".format, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=20)
@given(SCHEMAS, st.integers(0, 99), st.booleans())
def test_allowed_ids_spell_json_of_the_schema(wanted: dict[str, Any], seed: int, greedy: bool) -> None:
    """However allowed ids are picked until eos, the text is UTF-8 and JSON that the schema describes."""
    assert fits(json.loads(told(schema(wanted), seed, greedy)), wanted)


@settings(max_examples=20)
@given(PIECES, st.integers(0, 99), st.booleans())
def test_allowed_ids_spell_a_match_of_the_regex(source: str, seed: int, greedy: bool) -> None:
    """However allowed ids are picked until eos, the regex matches the whole text."""
    assert re.fullmatch(source, told(regex(source), seed, greedy))


@settings(max_examples=15)
@given(
    st.lists(
        st.sampled_from(["return", " words", "é", "0", '"', "\\", "abc", "\U0001f600", "ing"]), min_size=1, max_size=4
    ).map("".join)
)
def test_exactly_the_ids_whose_bytes_go_on_are_allowed(text: str) -> None:
    """If only one text is accepted, an id is allowed if and only if its bytes begin the rest: no tokenization is forced."""
    matcher = CONSTRAINER.matcher(grammar(f"start: {json.dumps(text)}"))
    rest = text.encode()
    for token in TOKENIZER.encode(text):
        spelled = {i: TOKENIZER.decode_bytes([i]) for i in range(VOCAB)}
        assert set(np.flatnonzero(matcher.allowed())) == {i for i, s in spelled.items() if s and rest.startswith(s)}
        matcher.accept([token])
        rest = rest[len(spelled[token]) :]
    assert np.flatnonzero(matcher.allowed()).tolist() == [EOS]


@given(st.sampled_from(SAMPLES), st.integers(0, 25), st.integers(0, 25), st.integers(0, 9999))
@settings(max_examples=80)
def test_a_walk_sees_what_stepping_sees(constraint: Constraint, most: int, cut: int, seed: int) -> None:
    """Row i of `allowed_along` is what a matcher allows after the output and i ids of the draft; the walk leaves no trace."""
    path = [token for token, _ in zip(steps(CONSTRAINER.matcher(constraint), seed), range(most), strict=False)]
    output, draft = path[: cut % (len(path) + 1)], path[cut % (len(path) + 1) :]
    matcher = CONSTRAINER.matcher(constraint)
    matcher.accept(output)
    rows = matcher.allowed_along(draft)
    assert rows.shape == (1 + len(draft), VOCAB)
    for place, row in enumerate(rows):
        fresh = CONSTRAINER.matcher(constraint)
        fresh.accept(path[: len(output) + place])
        assert (row == fresh.allowed()).all()
    assert (matcher.allowed() == rows[0]).all()
    matcher.accept(draft)
    assert (matcher.allowed() == rows[-1]).all()


@given(st.sampled_from(SAMPLES), st.integers(0, 20), st.integers(-5, VOCAB + 5), st.integers(0, 9999))
@settings(max_examples=60)
def test_a_walk_ends_at_the_first_illegal_id(constraint: Constraint, legal: int, token: int, seed: int) -> None:
    """Behind an id all is allowed if and only if it was illegal, and `accept` refuses the same ids."""
    draft = [token for token, _ in zip(steps(CONSTRAINER.matcher(constraint), seed), range(legal), strict=False)]
    matcher = CONSTRAINER.matcher(constraint)
    rows = matcher.allowed_along([*draft, token, token])
    assert not rows[: len(draft) + 1].all(axis=1).any()
    allowed = 0 <= token < VOCAB and bool(rows[len(draft), token])
    assert rows[len(draft) + 1].all() != allowed
    assert allowed or rows[-1].all()
    matcher.accept(draft)
    if allowed:
        matcher.accept([token])
    else:
        with pytest.raises(ConstraintBroken, match=f"id {token} after"):
            matcher.accept([token])


@pytest.mark.parametrize("constraint", [*SAMPLES, grammar("start: X\nX: ~/a/")], ids=lambda c: f"{c.kind}-{c.source[:12]}")
def test_no_special_id_is_ever_allowed(constraint: Constraint) -> None:
    """Of special ids only eos and the marks of calls are ever allowed; not the mask, an unknown id, or a byte of no UTF-8."""
    barred = sorted((TOKENIZER.special | {TOKENIZER.mask_id, *range(TOKENIZER.size, VOCAB), NO_TEXT}) - {EOS, *TOKENIZER.calls})
    matcher = CONSTRAINER.matcher(constraint)
    for _, _ in zip(steps(matcher, 3), range(40), strict=False):
        assert not matcher.allowed()[barred].any()


def test_no_special_id_is_allowed_even_if_the_library_would() -> None:
    """A compiled grammar that names special ids by number, which `check` refuses, still allows none of them."""
    compiled = LLMatcher(CONSTRAINER._tokenizer, 'start: <[*]> "a" | "b"')
    assert not compiled.is_error()
    row = Matcher(compiled, CONSTRAINER._text, CONSTRAINER._eos, lambda: None).allowed()
    assert row[TOKENIZER.encode("b")].all() and not row[sorted(TOKENIZER.special - TOKENIZER.calls | {NO_TEXT})].any()


def test_a_reserved_token_that_is_not_flagged_special_matches_no_text() -> None:
    """Where a family leaves `<think>` unflagged, the text `<think>` is spelled by ordinary ids."""
    document = json.loads((TINY / "tokenizer.json").read_text(encoding="utf-8"))
    think = TOKENIZER.id_of("<think>")
    for entry in document["added_tokens"]:
        entry["special"] = entry["id"] != think
    tokenizer = Tokenizer(document)
    assert tokenizer.decode([think]) == "<think>"
    row = Constrainer(tokenizer, VOCAB, EOS).matcher(regex("<think>")).allowed()
    assert not row[think] and row[tokenizer.encode("<")].all()


def test_after_the_end_only_eos_is_allowed() -> None:
    """A text that cannot go on allows eos alone, and so does an ended answer, for ever."""
    matcher = CONSTRAINER.matcher(regex("ab"))
    assert not matcher.allowed()[EOS]
    matcher.accept(TOKENIZER.encode("ab"))
    assert np.flatnonzero(matcher.allowed()).tolist() == [EOS]
    matcher.accept([EOS])
    assert [np.flatnonzero(row).tolist() for row in matcher.allowed_along([EOS, EOS])] == [[EOS]] * 3
    ended = CONSTRAINER.matcher(regex("ab?"))
    ended.accept([*TOKENIZER.encode("a"), EOS, EOS])
    with pytest.raises(ConstraintBroken):
        ended.accept(TOKENIZER.encode("b"))


@pytest.mark.parametrize("eos", [2, 11])
def test_a_constrained_answer_ends_as_the_model_s_answers_do(eos: int) -> None:
    """The id at which the checkpoint's answers stop, a base one's own too, is what ends a constrained answer."""
    base = replace(model(1, vocab_size=400), config=replace(model(1, vocab_size=400).config, eos_token_id=eos))
    events = decoded(base, asked(Mode.LINEAR_SPEC, tokens=20, constraint=regex("[ab]{3}"), stop=(eos,)))
    assert finished(events).reason is FinishReason.STOP and output(events)[-1] == eos
    assert re.fullmatch("[ab]{3}", base.tokenizer.decode(output(events)))


def test_eos_is_allowed_exactly_where_the_text_may_end() -> None:
    """Of `ab?`, eos may follow both `a` and `ab`, but not nothing."""
    may_end = CONSTRAINER.matcher(regex("ab?")).allowed_along([TOKENIZER.encode("a")[0], TOKENIZER.encode("b")[0]])[:, EOS]
    assert may_end.tolist() == [False, True, True]


def test_a_drafted_dead_end_does_no_harm_and_a_chosen_one_is_a_fault() -> None:
    """Where a grammar has a dead end, a draft into it leaves the state whole; output into it raises ConstraintBroken."""
    matcher = CONSTRAINER.matcher(DEAD_END)
    into, past = TOKENIZER.encode("a"), TOKENIZER.encode("c")
    rows = matcher.allowed_along(into)
    assert not rows[1].any()
    assert np.flatnonzero(matcher.allowed()).tolist() == sorted(into + past)
    other = CONSTRAINER.matcher(DEAD_END)
    matcher.accept([*past, EOS])
    other.accept(into)
    with pytest.raises(ConstraintBroken, match="dead end"):
        other.allowed()
    assert CONSTRAINER.matcher(DEAD_END).allowed()[past].all()


def test_json_is_laid_out_as_people_do_and_not_filled_with_blanks() -> None:
    """Compact, spaced and indented JSON is accepted; two blanks, or blanks around the whole, are not."""
    value = {"name": "Ada", "age": 36, "tags": ["red", "green"]}
    for layout in (None, 2, 4, "\t"):
        assert accepts(PERSON, json.dumps(value, indent=layout))
    assert accepts(PERSON, json.dumps(value, separators=(",", ":")))
    for text in ('{"name":  "Ada", "age": 36}', '{\n\n"name": "Ada", "age": 36}', ' {"name": "Ada", "age": 36}'):
        assert not accepts(PERSON, text)


def test_the_callers_options_for_the_library_mean_nothing() -> None:
    """`x-guidance` in a schema changes neither the layout nor what is refused."""
    options = {"whitespace_pattern": "[ ]*", "lenient": True}
    assert not accepts(schema({"type": "array", "items": {"type": "null"}, "x-guidance": options}), "[  null]")
    with pytest.raises(InvalidRequest, match="not"):
        CONSTRAINER.check(schema({"not": {"type": "null"}, "x-guidance": options}))
    assert accepts(grammar('start: "abc"\n%llguidance {"no_forcing": false}'), "abc")


def test_after_a_fault_the_constraint_is_compiled_anew() -> None:
    """What requests share of a compiled constraint, and may have worn out, outlives no fault; those of others do."""
    constrainer = Constrainer(TOKENIZER, VOCAB, EOS)
    other = constrainer.matcher(PERSON)
    broken, beside = constrainer.matcher(DEAD_END), constrainer.matcher(DEAD_END)
    with pytest.raises(ConstraintBroken):
        broken.accept([EOS])
    anew = constrainer.matcher(DEAD_END)
    assert anew._compiled is not broken._compiled and constrainer.matcher(PERSON)._compiled is other._compiled
    with pytest.raises(ConstraintBroken):
        beside.accept([EOS])
    assert constrainer.matcher(DEAD_END)._compiled is anew._compiled


def test_one_compiled_constraint_serves_many_requests() -> None:
    """Equal constraints are compiled once, and only a bounded number is kept."""
    constrainer = Constrainer(TOKENIZER, VOCAB, EOS)
    constrainer.check(PERSON)
    assert constrainer.matcher(PERSON)._compiled is constrainer.matcher(PERSON)._compiled
    for number in range(COMPILED + 3):
        constrainer.check(regex(f"x{number % (COMPILED - 1)}"))
        constrainer.check(PERSON)
    assert len(constrainer) == COMPILED
    constrainer.check(regex("y"))
    assert len(constrainer) == COMPILED


def test_threads_do_not_disturb_one_another() -> None:
    """Generations under one constraint on several threads pick what they pick alone."""
    alone = [list(steps(CONSTRAINER.matcher(PERSON), seed)) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda seed: list(steps(CONSTRAINER.matcher(PERSON), seed)), range(8))) == alone
