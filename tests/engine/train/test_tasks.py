"""Laws of the exercises: pure, split without overlap, right by their own checks, and never ambiguous."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from random import Random

import pytest

from engine.train.components import NOUNS, VERBS
from engine.train.execution import Outcome
from engine.train.grammar import Case, Split, split_of
from engine.train.tasks import Exercise, Kind, exercise, words
from engine.train.tasks.chat import Call, Chat, Result, Tool, User, heard, ids, prompt, spoken
from engine.train.tasks.checks import CallCheck, CodeCheck, JsonCheck, TextCheck
from engine.train.tasks.coding import TOOLS as KNOWN
from engine.train.tasks.schema import problem
from tests.engine.harness import tokenizer
from tests.engine.train.made import SEEDS, reply, run

KINDS = tuple(Kind)
SPLITS = tuple(Split)
CODE = (Kind.FUNCTION, Kind.EDIT)
CONTEXT = 4000


def drawn(kind: Kind, split: Split, characters: int = 0) -> list[Exercise]:
    """Many exercises of one kind."""
    return [exercise(seed, split, kind, characters) for seed in SEEDS]


def text_of(chat: Chat) -> str:
    """All that a prompt says."""
    return "".join(prompt(chat))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", SPLITS)
def test_an_exercise_is_a_function_of_its_seed(kind: Kind, split: Split) -> None:
    """The same arguments give the same exercise in whatever order they come, and other seeds mostly give others."""
    forth = [exercise(seed, split, kind, seed % 3 * 900) for seed in range(40)]
    back = [exercise(seed, split, kind, seed % 3 * 900) for seed in reversed(range(40))]
    assert forth == back[::-1]
    assert len({text_of(each.chat) for each in forth}) > 35


@pytest.mark.parametrize("characters", [0, CONTEXT])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in CODE])
@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_passes_its_own_check(kind: Kind, split: Split, characters: int) -> None:
    """The right reply, encoded and heard back, is judged right."""
    for made in drawn(kind, split, characters):
        said = heard(tokenizer(), ids(tokenizer(), spoken(made.answer)))
        assert said == reply(made)
        assert made.check.judge(said).outcome is Outcome.PASSED, (made, made.check.judge(said))


@pytest.mark.parametrize("kind", CODE)
@pytest.mark.parametrize("split", SPLITS)
def test_every_function_passes_its_own_cases(kind: Kind, split: Split) -> None:
    """Code of our own grammar gives what the composed callables expect, arguments by place and by name."""
    for made in drawn(kind, split):
        assert isinstance(made.check, CodeCheck) and isinstance(made.answer, str)
        results = run(made.answer, made.check.function, made.check.cases)
        assert list(map(repr, results)) == [repr(case.expected) for case in made.check.cases], made.answer


@pytest.mark.parametrize("kind", CODE)
def test_code_is_judged_by_running_it(kind: Kind) -> None:
    """The judge's locked process passes right functions of every family and fails the same with another result."""
    for seed in range(8):
        made = exercise(seed, Split.HELD_OUT, kind)
        assert made.check.judge(reply(made)).outcome is Outcome.PASSED
        assert made.check.judge(reply(made).replace("    return ", "    return None, ")).outcome is Outcome.WRONG


@pytest.mark.parametrize("kind", KINDS)
def test_one_prompt_has_one_answer(kind: Kind) -> None:
    """The same conversation never asks for two answers."""
    answers: dict[str, str] = {}
    for split in SPLITS:
        for made in drawn(kind, split):
            assert answers.setdefault(text_of(made.chat), reply(made)) == reply(made)


def test_what_surrounds_a_question_keeps_its_answer() -> None:
    """The last turns and the answer stay as they are, the tools are still there, and the length is near what was wanted."""
    for kind in KINDS:
        sizes = []
        for seed in range(60):
            bare, amid = exercise(seed, Split.TRAIN, kind), exercise(seed, Split.TRAIN, kind, CONTEXT)
            assert amid.chat.turns[-len(bare.chat.turns) :] == bare.chat.turns and amid.answer == bare.answer
            assert set(bare.chat.tools) <= set(amid.chat.tools)
            assert len({tool.name for tool in amid.chat.tools}) == len(amid.chat.tools)
            sizes.append(len(text_of(amid.chat)) - len(text_of(bare.chat)))
        assert 0.7 * CONTEXT < sum(sizes) / len(sizes) < 1.6 * CONTEXT and min(sizes) > CONTEXT / 3


def named(tool: Tool) -> tuple[str, ...]:
    """Verb and noun of a drawn tool's name, whichever style it is in."""
    return tuple(re.sub("([A-Z])", r"_\1", tool.name).lower().split("_"))


@pytest.mark.parametrize("characters", [0, CONTEXT])
@pytest.mark.parametrize("split", SPLITS)
def test_no_tool_crosses_the_border(split: Split, characters: int) -> None:
    """Names and schemas of all tools that are listed, not only of those called, belong to the split; known ones are shared."""
    seen = 0
    for kind in (Kind.TOOL, Kind.TURNS):
        for made in drawn(kind, split, characters)[: 150 if characters else None]:
            for tool in made.chat.tools:
                if tool in KNOWN:
                    continue
                schema = (f"{parameter.name}:{parameter.kind}" for parameter in tool.parameters)
                assert split_of(("tool", *named(tool))) is split and split_of(("schema", *schema)) is split
                seen += 1
    assert seen > 1000


def test_the_exam_calls_only_unseen_tools() -> None:
    """A held-out question of the tool kind is about a drawn tool; in training some are about the known ones."""
    called = {split: [made.answer for made in drawn(Kind.TOOL, split)] for split in SPLITS}
    known = {tool.name for tool in KNOWN}
    counts = {split: sum(isinstance(answer, Call) and answer.name in known for answer in called[split]) for split in SPLITS}
    assert counts[Split.HELD_OUT] == 0 and counts[Split.TRAIN] > 100


@pytest.mark.parametrize("split", SPLITS)
def test_no_schema_of_json_crosses_the_border(split: Split) -> None:
    """The keys of an object with their order and types belong to the split."""
    for made in drawn(Kind.JSON, split):
        assert isinstance(made.check, JsonCheck)
        keys = (f"{key}:{field['type']}" for key, field in made.check.schema["properties"].items())
        assert split_of(("json", *keys)) is split


@pytest.mark.parametrize("split", SPLITS)
def test_no_function_crosses_the_border(split: Split) -> None:
    """Names of functions belong to the split, in edits those before and after."""
    names = re.compile(rf"\b({'|'.join(VERBS)})_({'|'.join(NOUNS)})\b")
    for kind in CODE:
        for made in drawn(kind, split):
            for verb, noun in names.findall(text_of(made.chat)):
                assert split_of(("function", verb, noun)) is split


def test_coined_words_and_paths_do_not_cross_the_border() -> None:
    """What one split draws as a new word, a path or an identifier, the other never does."""
    for draw in (words.coin, words.path, words.identifier):
        found = {split: {draw(Random(seed), split) for seed in range(2000)} for split in SPLITS}
        assert not found[Split.TRAIN] & found[Split.HELD_OUT] and all(len(each) > 400 for each in found.values())


def test_every_verb_has_one_meaning() -> None:
    """No word stands in two groups, so that an order cannot mean two tools of one noun."""
    every = [verb for group in (*words.VERBS, *words.READS) for verb in group]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("split", SPLITS)
def test_one_tool_is_meant(split: Split) -> None:
    """Among the listed tools only the called one has a verb of its group together with its noun, also in long lists."""
    first = {verb: group[0] for group in (*words.VERBS, *words.READS) for verb in group}
    for characters in (0, CONTEXT):
        for made in drawn(Kind.TOOL, split, characters)[:200]:
            meanings = [(first[verb], rest) for verb, *rest in map(named, made.chat.tools) if verb in first]
            assert all(meanings.count(each) == 1 for each in meanings)


@pytest.mark.parametrize("split", SPLITS)
def test_what_an_answer_needs_stands_in_the_prompt(split: Split) -> None:
    """Arguments of calls, fields of objects and facts of sentences are copied from what was said, never invented."""
    for made in (*drawn(Kind.TOOL, split), *drawn(Kind.TURNS, split), *drawn(Kind.JSON, split)):
        said = " ".join(turn.text for turn in made.chat.turns if isinstance(turn, User | Result)).lower()
        match made.check:
            case CallCheck(call=call):
                values = [v for value in call.arguments.values() for v in (value if isinstance(value, list) else [value])]
            case JsonCheck(value=value):
                values = [v for each in value.values() for v in (each if isinstance(each, list) else [each])]
            case _:  # how often something occurs is counted, all else is copied
                values = [] if " occurs " in str(made.answer) else re.findall(r"\d+", str(made.answer))
        needed = [str(v).lower() for v in values if not isinstance(v, bool) and v is not None]
        # A path may be put together from a folder that the user named and a file that a result listed.
        assert all(part in said for each in needed for part in (each.split("/") if made.kind is Kind.TURNS else [each]))


def test_turns_follow_at_least_one_result() -> None:
    """A later step ends behind a result; both further calls and final sentences are asked for, and failures occur."""
    made = drawn(Kind.TURNS, Split.TRAIN)
    assert all(isinstance(each.chat.turns[-1], Result) for each in made)
    calls = sum(isinstance(each.answer, Call) for each in made)
    failures = sum(str(each.answer).startswith("The call failed") for each in made)
    assert 60 < calls < 400 and 20 < failures < 200


def broken(made: Exercise, random: Random) -> list[tuple[str, frozenset[Outcome]]]:
    """Replies that are nearly right, and what may be said of them."""
    text = reply(made)
    wrong, invalid = frozenset({Outcome.WRONG}), frozenset({Outcome.INVALID})
    unreadable = frozenset({Outcome.UNREADABLE, Outcome.NO_CODE})
    match made.check:
        case CallCheck(tools, call):
            other = next((tool for tool in tools if tool.name != call.name and tool.required != tuple(call.arguments)), None)
            name, value = next(iter(call.arguments.items()))
            found = [
                (text.replace(f"={call.name}>", "=no_such_tool>"), invalid),
                (text.replace(f"={name}>", "=no_such_parameter>"), invalid),
                (text.replace("</function>", ""), unreadable),
                (text + text, unreadable),
                ("", unreadable),
                ("I cannot do that.", unreadable),
            ]
            if isinstance(value, int) and not isinstance(value, bool):
                found += [(text.replace(f">\n{value}\n", f">\n{value + 1}\n"), wrong)]
                found += [(text.replace(f">\n{value}\n", ">\nmany\n"), invalid)]
            return found + ([(text.replace(f"={call.name}>", f"={other.name}>"), wrong | invalid)] if other else [])
        case JsonCheck(_, value):
            key = random.choice(list(value))
            less = {each: told for each, told in value.items() if each != key}
            return [
                (json.dumps(less), invalid),
                (json.dumps({**value, "no_such_key": 1}), invalid),
                (json.dumps({**value, key: {"deep": 1}}), invalid),
                (text[:-1], unreadable),
                (text[:-1] + ", " + text[1:], unreadable),
                (f"Here it is: {text}", unreadable),
                ("[" * 100_000, unreadable),
            ]
        case TextCheck():
            return [(f"not {text}", wrong), ("", unreadable), (f"<tool_call>{text}", unreadable)]
    return []


@pytest.mark.parametrize("kind", [Kind.TOOL, Kind.TURNS, Kind.JSON])
def test_a_nearly_right_answer_fails(kind: Kind) -> None:
    """A wrong name, value, key or form is told apart from the right one, and named for what it is."""
    tried = 0
    for seed, made in enumerate(drawn(kind, Split.HELD_OUT)[:300]):
        for text, outcomes in broken(made, Random(seed)):
            verdict = made.check.judge(text)
            assert verdict.outcome in outcomes and verdict.detail, (text, verdict)
            tried += 1
    assert tried > 900


def test_a_value_of_another_sort_is_not_equal() -> None:
    """One is not true, a number is not its digits, and order counts in lists alone."""
    schema = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"], "additionalProperties": False}
    check = JsonCheck(schema, {"a": 1, "b": ["x", "y"]})
    assert check.judge('{"b": ["x", "y"], "a": 1}').outcome is Outcome.PASSED
    for text in ('{"a": true, "b": ["x", "y"]}', '{"a": "1", "b": ["x", "y"]}', '{"a": 1, "b": ["y", "x"]}', '{"a": 1.0}'):
        assert check.judge(text).outcome is Outcome.WRONG
    assert problem(schema, {"b": []}) == "answer lacks a"


def test_a_swapped_answer_of_code_fails() -> None:
    """The function of another exercise, renamed to fit, passes neither this one's cases nor its signature."""
    caught = tried = 0
    for seed in range(120):
        made, other = exercise(seed, Split.TRAIN, Kind.EDIT), exercise(seed + 500, Split.TRAIN, Kind.EDIT)
        assert isinstance(made.check, CodeCheck) and isinstance(other.check, CodeCheck)
        if element(made.check) is element(other.check):
            tried += 1
            cases = [Case(case.arguments, case.expected) for case in made.check.cases]
            caught += run(reply(other), other.check.function, cases) != [case.expected for case in cases]
    assert tried > 30 and caught / tried > 0.95


def element(check: CodeCheck) -> type:
    """Of what the lists are that a function is called with."""
    first = check.cases[1].arguments[0]
    assert isinstance(first, list)
    return type(first[0])


def test_a_required_argument_may_not_be_left_out() -> None:
    """A call without one of its required arguments is invalid, with all but the optional ones it may only be wrong."""
    seen = 0
    for made in drawn(Kind.TOOL, Split.HELD_OUT):
        assert isinstance(made.answer, Call) and isinstance(made.check, CallCheck)
        tool = next(tool for tool in made.chat.tools if tool.name == made.answer.name)
        for name in made.answer.arguments:
            less = {key: value for key, value in made.answer.arguments.items() if key != name}
            verdict = made.check.judge(reply(replace(made, answer=Call(made.answer.name, less))))
            assert verdict.outcome is (Outcome.INVALID if name in tool.required else Outcome.WRONG)
            seen += name not in tool.required
    assert seen > 30
