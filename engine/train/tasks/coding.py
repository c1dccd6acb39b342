"""Errands of a coding agent: the tools that every such client has, by their common names, on files that nobody has seen.

These few schemas are the same in training and exam; paths, texts and identifiers are not.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from engine.train.grammar import Split
from engine.train.tasks import words
from engine.train.tasks.chat import Call, Parameter, Tool
from engine.train.tasks.stories import Step, Story, failure, sorry

READ: Final = Tool("read_file", "Read a file.", (Parameter("path", "string"),), ("path",))
WRITE: Final = Tool(
    "write_file", "Write a file.", (Parameter("path", "string"), Parameter("content", "string")), ("path", "content")
)
TESTS: Final = Tool("run_tests", "Run the tests.", (Parameter("path", "string"),), ("path",))
SEARCH: Final = Tool("search", "Search the files.", (Parameter("query", "string"), Parameter("path", "string")), ("query",))
LIST: Final = Tool("list_files", "List a folder.", (Parameter("path", "string"),), ("path",))
COMMAND: Final = Tool("run_command", "Run a shell command.", (Parameter("command", "string"),), ("command",))
TOOLS: Final = (READ, WRITE, TESTS, SEARCH, LIST, COMMAND)

COMMANDS: Final = ("git status", "git diff", "make test", "make build", "ls -la", "pip list", "git log")

_Told = tuple[str, tuple[Step, ...], str]


def errand(random: Random, split: Split) -> Story:
    """One story over coding tools; any step may fail, and then it ends there."""
    request, steps, final = random.choice(ERRANDS)(random, split)
    for place, step in enumerate(steps):
        if random.random() < 0.06:
            failed = Step(step.call, failure(random))
            steps, final = (*steps[:place], failed), sorry(failed.result)
            break
    return Story(_among(random, steps), request, steps, final)


def look_up(random: Random, split: Split) -> _Told:
    """Read a file and say what it gives a name."""
    path = words.path(random, split)
    names = list(dict.fromkeys(words.noun(random, split) for _ in range(random.randint(2, 4))))
    values = [str(random.randint(1, 9999)) if random.random() < 0.5 else words.coin(random, split) for _ in names]
    place = random.randrange(len(names))
    content = "\n".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))
    request = _one_of(
        random,
        f"Read {path} and tell me the value of {names[place]}.",
        f"What is {names[place]} in {path}?",
        f"Look into `{path}`: what is {names[place]} set to?",
    )
    return request, (Step(_read(path), content),), f"{names[place]} is {values[place]}."


def copy(random: Random, split: Split) -> _Told:
    """Read one file and write its text to another."""
    source, target = words.path(random, split), words.path(random, split)
    content = words.phrase(random, split)
    request = _one_of(
        random,
        f"Copy {source} to {target}.",
        f"Read {source} and write its text to {target}.",
        f"Please copy the content of `{source}` into `{target}`.",
    )
    return request, (Step(_read(source), content), Step(_write(target, content), "ok")), f"Wrote {target}."


def write(random: Random, split: Split) -> _Told:
    """Write a text to a file."""
    path, content = words.path(random, split), words.phrase(random, split)
    request = _one_of(
        random,
        f'Write "{content}" to {path}.',
        f'Create the file {path} with the text "{content}".',
        f'Please make `{path}` and put "{content}" into it.',
    )
    return request, (Step(_write(path, content), "ok"),), f"Wrote {path}."


def test(random: Random, split: Split) -> _Told:
    """Run the tests and say how they went."""
    path = words.path(random, split, "py")
    request = _one_of(
        random, f"Run the tests in {path}.", f"Do the tests in `{path}` pass?", f"Please run {path} and tell me how it went."
    )
    step, final = _tested(random, path)
    return request, (step,), final


def write_and_test(random: Random, split: Split) -> _Told:
    """Write a text to a file, then run the tests of another."""
    path, content, tests = words.path(random, split), words.phrase(random, split), words.path(random, split, "py")
    request = _one_of(
        random,
        f'Write "{content}" to {path}, then run the tests in {tests}.',
        f'Put "{content}" into `{path}` and run {tests}.',
    )
    step, final = _tested(random, tests)
    return request, (Step(_write(path, content), "ok"), step), final


def find(random: Random, split: Split) -> _Told:
    """Search for a name and say, or read, the file that defines it."""
    name = words.identifier(random, split)
    paths = list(dict.fromkeys(words.path(random, split, "py") for _ in range(random.randint(1, 3))))
    place = random.randrange(len(paths))
    lines = [
        f"{path}:{random.randint(1, 400)}: " + (f"def {name}():" if index == place else f"x = {name}()")
        for index, path in enumerate(paths)
    ]
    step = Step(Call(SEARCH.name, {"query": name}), "\n".join(lines))
    if random.random() < 0.5:
        request = _one_of(random, f"Which file defines {name}?", f"Search for `{name}` and tell me which file defines it.")
        return request, (step,), f"{paths[place]} defines {name}."
    request = _one_of(random, f"Search for {name} and read the file that defines it.", f"Read the file that defines `{name}`.")
    return request, (step, Step(_read(paths[place]), words.phrase(random, split))), f"Read {paths[place]}."


def search_in(random: Random, split: Split) -> _Told:
    """Search for a name under a folder and say how many lines have it."""
    name, folder = words.identifier(random, split), random.choice(words.FOLDERS)
    count = random.randint(2, 4)
    lines = [f"{words.path(random, split, 'py', folder)}:{random.randint(1, 400)}: {name}()" for _ in range(count)]
    request = _one_of(random, f"Search for {name} in {folder}.", f"How often does `{name}` occur in {folder}?")
    step = Step(Call(SEARCH.name, {"query": name, "path": folder}), "\n".join(lines))
    return request, (step,), f"{name} occurs {count} times."


def look_around(random: Random, split: Split) -> _Told:
    """List a folder and read its only file of a kind."""
    path = words.path(random, split, "md")
    folder, name = path.split("/")
    more = [f"{words.noun(random, split)}.{ending}" for ending in random.sample(("py", "txt", "json", "csv"), 2)]
    names = [name, *more]
    random.shuffle(names)
    request = _one_of(random, f"Read the md file in {folder}.", f"List {folder} and read the md file there.")
    steps = (Step(Call(LIST.name, {"path": folder}), "\n".join(names)), Step(_read(path), words.phrase(random, split)))
    return request, steps, f"Read {path}."


def command(random: Random, split: Split) -> _Told:
    """Run a command and repeat what it printed."""
    line, printed = random.choice(COMMANDS), words.phrase(random, split)
    request = _one_of(random, f"Run `{line}`.", f"Please run `{line}` and tell me what it prints.")
    return request, (Step(Call(COMMAND.name, {"command": line}), printed),), f"It printed: {printed}."


ERRANDS: Final[tuple[Callable[[Random, Split], _Told], ...]] = (
    look_up, copy, write, test, write_and_test, find, search_in, look_around, command,
)  # fmt: skip


def _tested(random: Random, path: str) -> tuple[Step, str]:
    passed, failed = random.randint(1, 99), random.choice((0, 0, random.randint(1, 20)))
    told = f"{passed} passed, {failed} failed" if failed else f"{passed} passed"
    final = f"{failed} failed, {passed} passed." if failed else f"All {passed} passed."
    return Step(Call(TESTS.name, {"path": path}), told), final


def _read(path: str) -> Call:
    return Call(READ.name, {"path": path})


def _write(path: str, content: str) -> Call:
    return Call(WRITE.name, {"path": path, "content": content})


def _one_of(random: Random, *sentences: str) -> str:
    return random.choice(sentences)


def _among(random: Random, steps: tuple[Step, ...]) -> tuple[Tool, ...]:
    """The tools that the story calls and some of the rest, shuffled."""
    needed = {step.call.name for step in steps}
    kept = [tool for tool in TOOLS if tool.name in needed or random.random() < 0.5]
    random.shuffle(kept)
    return tuple(kept)
