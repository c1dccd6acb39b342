"""What real clients put around a question: long system prompts, dozens of tools, earlier turns. None of it changes the answer.

Promise: an exercise keeps its answer, its last turns and its own tools; nothing that is added means what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from engine.train.grammar import Split
from engine.train.tasks import coding, edits, extraction, functions, stories, words
from engine.train.tasks.chat import Chat, Parameter, Tool, Turn, User
from engine.train.tasks.checks import CallCheck
from engine.train.tasks.exercise import Exercise
from engine.train.tasks.tools import make

SYSTEMS: Final = (
    "You are a helpful assistant.", "You are a coding agent.", "You help with code and data.", "Answer briefly.",
    "You are a careful assistant that answers exactly what is asked.", "Use the tools when they fit.",
)  # fmt: skip

HEADINGS: Final = ("# Rules", "# Style", "# Safety", "# Workflow", "# Answers", "# Project", "# Notes")
DUTIES: Final = (
    "read a file before you change it", "keep changes small", "run the tests after every edit", "ask before you delete files",
    "explain what you did in one line", "use short names", "write plain English", "follow the style of the code around you",
    "stop when a command fails", "leave files alone that you did not create", "prefer one tool call to many",
    "check the result of each call", "keep secrets out of the answer", "answer with code only", "quote paths exactly",
    "use the name that the user gave",
)  # fmt: skip
MANNERS: Final = ("Always {}", "Please {}", "Remember to {}", "Try to {}", "It is important to {}", "Be sure to {}")
CONDITIONS: Final = (
    "", "", " when the user asks for it", " if the task is long", " in every session", " unless told otherwise",
    " before you answer", " while you work", " even if it takes longer", " in this project",
)  # fmt: skip

TEXTS: Final[tuple[Callable[[Random, Split], Exercise], ...]] = (
    functions.exercise, edits.exercise, extraction.exercise,
)  # fmt: skip
ERRANDS: Final = (stories.errand, coding.errand)


@dataclass(slots=True)
class _Gathered:
    """What has been put together so far, and how many characters may still be added."""

    system: list[str]
    tools: list[Tool]
    turns: list[Turn]
    room: int


def introduced(random: Random, exercise: Exercise) -> Exercise:
    """The exercise under a short system prompt, half of the time."""
    if random.random() < 0.5:
        return exercise
    return replace(exercise, chat=replace(exercise.chat, system=random.choice(SYSTEMS)))


def surrounded(random: Random, split: Split, exercise: Exercise, characters: int) -> Exercise:
    """The exercise amid about so many characters of everything else."""
    gathered = _Gathered([random.choice(SYSTEMS)], list(exercise.chat.tools), [], characters)
    shares = [random.random() for _ in range(3)]
    for fill, share in zip((_rules, _tools, _turns), shares, strict=True):
        _spend(random, split, gathered, fill, int(characters * share / sum(shares)))
    random.shuffle(gathered.tools)
    tools = tuple(gathered.tools)
    chat = Chat((*gathered.turns, *exercise.chat.turns), tools, "\n".join(gathered.system))
    check = exercise.check
    return replace(exercise, chat=chat, check=replace(check, tools=tools) if isinstance(check, CallCheck) else check)


_Fill = Callable[[Random, Split, _Gathered], int]


def _spend(random: Random, split: Split, gathered: _Gathered, fill: _Fill, budget: int) -> None:
    """Fill as long as the budget and the room last; each filling says how many characters it took."""
    left = min(budget, gathered.room)
    while left > 0:
        spent = fill(random, split, gathered)
        left, gathered.room = left - spent, gathered.room - spent


def _rules(random: Random, split: Split, gathered: _Gathered) -> int:
    """A heading and a few rules, or a few facts about the place."""
    if random.random() < 0.3:
        lines = [f"- {words.path(random, split)}" for _ in range(random.randint(3, 9))]
        lines.insert(0, f"Files of {words.coin(random, split)}:")
    else:
        rules = (random.choice(MANNERS).format(random.choice(DUTIES)) for _ in range(random.randint(3, 8)))
        lines = [f"- {rule}{random.choice(CONDITIONS)}." for rule in rules]
        lines.insert(0, random.choice(HEADINGS))
    gathered.system += ["", *lines]
    return sum(map(len, lines))


def _tools(random: Random, split: Split, gathered: _Gathered) -> int:
    """One more tool, told at length."""
    drawn = make(random, split, (*words.VERBS, *words.READS), most=5).tool
    tool = replace(drawn, parameters=tuple(map(_described, drawn.parameters)))
    if not _welcome(gathered.tools, (tool,)):
        return 1
    gathered.tools.append(tool)
    return 60 + len(tool.name) + sum(110 + len(parameter.name) for parameter in tool.parameters)


def _turns(random: Random, split: Split, gathered: _Gathered) -> int:
    """One more question with its answer, or a whole errand, if its tools can join those that are there."""
    if random.random() < 0.6:
        made = random.choice(TEXTS)(random, split)
        added: list[Turn] = [*made.chat.turns, made.answer]
    else:
        story = random.choice(ERRANDS)(random, split)
        if not _welcome(gathered.tools, story.tools):
            return 1
        gathered.tools += [tool for tool in story.tools if tool not in gathered.tools]
        added = [*story.before(len(story.steps)).turns, story.final]
    gathered.turns += added
    return sum(len(turn.text) if isinstance(turn, User) else 60 + len(str(turn)) for turn in added)


def _described(parameter: Parameter) -> Parameter:
    return replace(parameter, description=f"The {parameter.name.replace('_', ' ')}.")


def _welcome(tools: list[Tool], more: tuple[Tool, ...]) -> bool:
    """Whether no newcomer shares a name or a meaning with a tool that is there, except a tool that is the very same."""
    names, meanings = {tool.name for tool in tools}, {_meaning(tool) for tool in tools}
    return all(tool in tools or (tool.name not in names and _meaning(tool) not in meanings) for tool in more)


def _meaning(tool: Tool) -> tuple[str, str]:
    """The first word of the verb's group, and the thing."""
    verb, rest = tool.description.split(" ", 1)
    return _FIRST.get(verb.lower(), verb), rest


_FIRST: Final = {verb: group[0] for group in (*words.VERBS, *words.READS) for verb in group}
