"""Laws of the exam: what is asked, how it is counted, and that a guide holds any model to the form."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from engine.engine import Engine
from engine.model.checkpoint import LoadedModel, load
from engine.plan import Lora
from engine.request import Mode, Numeric
from engine.train import examination
from engine.train.evaluate import MODES, answers, exam, questions, score, sit
from engine.train.examination import Again, Wish
from engine.train.execution import Outcome, Verdict
from engine.train.grammar import Split, split_of, task
from engine.train.picture import picture
from engine.train.saving import save
from engine.train.scores import Sat, Setting, settings, tally
from engine.train.tasks import Kind, exercise
from engine.train.tasks.chat import Call, read_call
from engine.train.tasks.checks import USABLE, CallCheck
from engine.train.tasks.guide import call_language, guide
from engine.train.vocabulary import build
from tests.engine.harness import tokenizer
from tests.engine.small import TINY, random_network, small_config
from tests.engine.train.made import reply

LINEAR = Setting(Mode.LINEAR_SPEC)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    """Random weights, a real vocabulary, and room for a question and any guided answer."""
    config = replace(small_config(1024, layers=1), max_position_embeddings=2048)
    return LoadedModel("random", config, random_network(config, seed=3), tokenizer(), "0" * 64)


def test_questions_take_the_kinds_in_turn_and_are_held_out() -> None:
    """The same count gives the same questions, kinds as wanted, and no function that training knows."""
    asked = questions(10, (Kind.JSON, Kind.TOOL))
    assert [each.kind for each in asked] == [Kind.JSON, Kind.TOOL] * 5 and asked == questions(10, (Kind.JSON, Kind.TOOL))
    assert {each.kind for each in questions(5)} == set(Kind)
    for seed in range(20):
        assert split_of(task(7_000_000 + seed, Split.HELD_OUT).composition) is Split.HELD_OUT
    assert [each.answer for each in exam(4)] == [task(7_000_000 + n, Split.HELD_OUT).answer for n in range(4)]


def test_every_setting_differs() -> None:
    """Thresholds are for diffusion alone, blocks for all but `ar`, and `quadratic_spec` ends at 8."""
    found = settings(MODES, (0.7, 0.9), (8, 16, 32))
    assert found[0] == Setting(Mode.AR) and len(found) == len(set(found)) == 1 + 2 * 3 + 3 + 1
    assert [each.block for each in found if each.mode is Mode.QUADRATIC_SPEC] == [8]


def sat(setting: Setting, place: int, text: str, outcome: Outcome, tokens: int = 8, forwards: int = 2) -> Sat:
    """One answer, as if it had been given."""
    asked = exercise(place, Split.HELD_OUT, (Kind.TOOL, Kind.JSON)[place % 2])
    return Sat(setting, place, asked, text, Verdict(outcome), tokens, forwards, 0.5)


def test_a_tally_counts_what_was_sat() -> None:
    """Totals per setting, then per kind; tokens per forward is the quotient of sums; equality is with the text of `ar`."""
    ar = Setting(Mode.AR)
    right = reply(exercise(0, Split.HELD_OUT, Kind.TOOL))
    given = [
        sat(ar, 0, right, Outcome.PASSED, 10, 10), sat(ar, 1, "x", Outcome.INVALID, 10, 10),
        sat(LINEAR, 0, right, Outcome.PASSED, 10, 2), sat(LINEAR, 1, "y", Outcome.WRONG, 2, 2),
    ]  # fmt: skip
    first, tools, objects, second, *_ = tally(given)
    assert (first.kind, tools.kind, objects.kind, second.kind) == (None, Kind.TOOL, Kind.JSON, None)
    assert (first.questions, first.correct, first.usable, first.exact, first.same_as_ar) == (2, 1, 1, 1, 2)
    assert (second.correct, second.usable, second.exact, second.same_as_ar) == (1, 2, 1, 1)
    assert (tools.correct, objects.correct, objects.usable) == (1, 0, 0)
    assert second.tokens_per_forward == 3.0 and second.seconds == 1.0
    assert tally(given[2:])[0].same_as_ar is None


def test_what_was_drawn_is_compared_with_what_was_drawn() -> None:
    """A setting is compared with `ar` at its own temperature, and with nothing where that was not asked."""
    ar, hot = Setting(Mode.AR), replace(LINEAR, temperature=1.0)
    given = [sat(ar, 0, "x", Outcome.WRONG), sat(hot, 0, "y", Outcome.WRONG)]
    assert [each.same_as_ar for each in tally(given)] == [1, None]
    given.insert(1, sat(replace(ar, temperature=1.0), 0, "y", Outcome.WRONG))
    assert [each.same_as_ar for each in tally(given)] == [1, 1, 1]


def test_modes_that_must_agree_do_agree(model: LoadedModel) -> None:
    """In strict numerics the three causal modes give one text for every kind, and the tally says so."""
    modes = (Mode.QUADRATIC_SPEC, Mode.AR, Mode.LINEAR_SPEC)
    asked = [replace(setting, longest=24) for setting in settings(modes, (0.9,), (8,))]
    found = [each for each in tally(list(sit(model, questions(5), asked))) if each.kind is None]
    assert [each.mode for each in found] == [Mode.AR, Mode.QUADRATIC_SPEC, Mode.LINEAR_SPEC]
    assert all(each.same_as_ar == each.questions == 5 and each.tokens > 0 and each.forwards > 0 for each in found)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_drafter_changes_drafts_and_never_the_text(model: LoadedModel, temperature: float) -> None:
    """Without its drafter LoRA a speculative mode says the same in another number of passes, greedily or drawn; the model
    itself is left alone."""
    linear = replace(LINEAR, longest=24, temperature=temperature)
    asked = [linear, replace(linear, lora=Lora.OFF)]
    given = list(sit(model, questions(5), asked))
    drafted, plain = given[:5], given[5:]
    assert {each.setting.lora for each in drafted} == {Lora.ON} and {each.setting.lora for each in plain} == {Lora.OFF}
    assert [each.text for each in drafted] == [each.text for each in plain]
    assert [each.forwards for each in drafted] != [each.forwards for each in plain]
    assert any(bool(value.any()) for name, value in model.network.named_parameters() if name.endswith("lora_b"))


def test_the_picture_shows_every_setting() -> None:
    """One dot per whole, greedy, unguided setting, named by its title, thresholds of a length joined; no script or link."""
    rows: list[dict[str, Any]] = [
        {"mode": mode, "block": block, "threshold": threshold, "kind": "all", "guided": guided, "lora": "on",
         "temperature": temperature, "questions": 10, "correct": correct, "tokens_per_forward": tokens}
        for mode, block, threshold, guided, temperature, correct, tokens in (
            ("ar", None, None, False, 0.0, 10, 1.0), ("diffusion", 16, 0.9, False, 0.0, 9, 3.0),
            ("diffusion", 16, 0.5, False, 0.0, 5, 4.0), ("ar", None, None, False, 1.0, 2, 1.0),
            ("ar", None, None, True, 0.0, 1, 1.0),
        )
    ]  # fmt: skip
    drawn = ET.fromstring(picture(rows))  # noqa: S314 - our own text
    titles = [found.text for found in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [
        "ar: 100.0 %, 1.00 tokens per forward",
        "diffusion 16 0.9: 90.0 %, 3.00 tokens per forward",
        "diffusion 16 0.5: 50.0 %, 4.00 tokens per forward",
    ]
    kinds = {element.tag.rpartition("}")[2] for element in drawn.iter()}
    assert kinds == {"svg", "rect", "path", "text", "circle", "title", "polyline"}
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == 1
    with pytest.raises(ValueError, match="nothing to draw"):
        picture(rows[-1:])


def test_scores_come_mode_by_mode() -> None:
    """The shipped checkpoint is scored in each mode as soon as that is through, `ar` first."""
    found = list(score(load(TINY), exam(1), (Mode.DIFFUSION, Mode.AR)))
    assert [(each.mode, each.kind, each.questions, each.correct) for each in found] == [
        (Mode.AR, None, 1, 1), (Mode.DIFFUSION, None, 1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("numeric", list(Numeric))
def test_a_guided_answer_is_always_usable(model: LoadedModel, numeric: Numeric) -> None:
    """Whatever the weights are, a call under its guide is of a listed tool with arguments that validate, and JSON fits."""
    asked = questions(4, (Kind.TOOL, Kind.JSON))
    given = list(sit(model, asked, (replace(LINEAR, guided=True),), numeric))
    assert len(given) == 4
    assert all(each.verdict.outcome in USABLE for each in given), [(each.text, each.verdict) for each in given]


def test_without_a_guide_random_weights_say_nothing_usable(model: LoadedModel) -> None:
    """The guide is what made those answers usable."""
    ((_, text, finished, seconds),) = answers(Engine(model), model, questions(1, (Kind.TOOL,)), Setting(Mode.AR, longest=24))
    assert questions(1, (Kind.TOOL,))[0].check.judge(text).outcome is Outcome.UNREADABLE
    assert finished.tokens > 0 and seconds > 0


def test_answers_that_end_together_share_the_time(model: LoadedModel) -> None:
    """Of questions that end in one step none took no time, so every group of them has a rate."""
    given = list(answers(Engine(model), model, questions(1) * 4, Setting(Mode.AR, longest=4), at_once=4))
    seconds = [taken for _, _, _, taken in given]
    assert len(seconds) == 4 and min(seconds) == max(seconds) > 0


@pytest.mark.long
def test_how_many_are_under_way_changes_no_answer(model: LoadedModel) -> None:
    """Seven at once give each question the text, tokens and passes that it has alone, guided or not, in every mode."""
    asked = [replace(setting, longest=24) for setting in settings(MODES, (0.9,), (8,))]
    asked.append(replace(LINEAR, guided=True))
    told = []
    for at_once in (1, 7):
        given = sit(model, questions(10), asked, at_once=at_once)
        told.append({(each.setting, each.place): (each.text, each.tokens, each.forwards) for each in given})
    assert told[0] == told[1] and len(told[0]) > 40


def test_the_guide_admits_every_right_answer(model: LoadedModel) -> None:
    """No right call and no right object of the corpus lies outside its own guide, in short lists and long ones."""
    engine, tried = Engine(model), 0
    for seed in range(12):
        for kind in (Kind.TOOL, Kind.TURNS, Kind.JSON):
            made = exercise(seed, Split.HELD_OUT, kind, 6000 if seed % 4 == 0 else 0)
            found = guide(made)
            if found is None:
                assert kind is Kind.TURNS and isinstance(made.answer, str)
                continue
            text = reply(made).removeprefix("".join(found.opening)).removesuffix("</tool_call>\n")
            matcher = engine.constrainer.matcher(found.constraint)
            matcher.accept((*tokenizer().encode(text), tokenizer().eos_id))
            tried += 1
    assert tried > 20


def test_the_language_of_calls_is_that_of_the_schema() -> None:
    """A call that the check finds invalid is not in the language; one that is right is."""
    import re  # noqa: PLC0415 - the language happens to be one that Python's own engine reads too

    for seed in range(60):
        made = exercise(seed, Split.HELD_OUT, Kind.TOOL)
        assert isinstance(made.answer, Call) and isinstance(made.check, CallCheck)
        language = re.compile(call_language(made.chat.tools))
        text = reply(made).removeprefix("\n<tool_call>").removesuffix("</tool_call>\n")
        assert language.fullmatch(text) and read_call(text)
        assert not language.fullmatch(text.replace(f"={made.answer.name}>", "=other>"))
        assert not language.fullmatch(text.replace("<parameter=", "<parameter=x", 1))


def test_an_examination_prints_and_tells_all(model: LoadedModel, tmp_path: Path) -> None:
    """The table has a row per setting, the document every figure of it, and questions that are too long are counted."""
    build(tmp_path, 400)
    save(tmp_path, model.network)
    printed = io.StringIO()
    wish = Wish(tmp_path, (Mode.AR, Mode.DIFFUSION), (0.5, 0.9), (8,), (Kind.JSON,), 1, 0, frozenset(Again), Numeric.FAST)
    told = examination.run(wish, Console(file=printed, width=100))
    assert [(row["mode"], row["threshold"], row["guided"], row["temperature"]) for row in told["rows"]] == [
        ("ar", None, False, 0), ("diffusion", 0.5, False, 0), ("diffusion", 0.9, False, 0), ("ar", None, True, 0),
        ("ar", None, False, 1),
    ]  # fmt: skip
    assert told["rows"][3]["usable"] == 1 and told["left_out"] == 0 and json.loads(json.dumps(told)) == told
    for line in ("diffusion block 8 at 0.5", "ar guided", "ar drawn at 1", "tokens/pass"):
        assert line in printed.getvalue()


@pytest.mark.long
def test_the_command_explains_itself_and_runs(model: LoadedModel, tmp_path: Path) -> None:
    """`palimpsest eval` writes its figures to a file, and names what cannot be asked."""
    build(tmp_path / "model", 400)
    save(tmp_path / "model", model.network)
    command = [sys.executable, "-m", "gateway", "eval", "--checkpoint", str(tmp_path / "model"), "--mode", "ar"]
    told = tmp_path / "told.json"
    done = run([*command, "--count", "1", "--kind", "tool", "--threads", "1", "--json", str(told)])
    assert done.returncode == 0 and json.loads(told.read_text())["rows"][0]["questions"] == 1, done.stderr
    done = run([*command, "--count", "1", "--kind", "tool", "--threads", "1", "--context", "9000"])
    assert done.returncode != 0 and "no question fits" in done.stderr
    done = run([sys.executable, "-m", "gateway", "eval", "--help"])
    assert done.returncode == 0 and "--threshold" in done.stdout and "Examples" in done.stdout


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """A command that has ended."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PALIMPSEST_")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=kept | {"COLUMNS": "120"})
