"""Short edits: a function is given, one thing about it must change, and the answer is the whole new function.

The code before and after is the grammar's own, so the new one is right by construction; answers are judged by running them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from engine.train.components import Constant
from engine.train.grammar import Case, Composition, Names, Split, fenced, function_name, plain_compositions, split_of
from engine.train.tasks.chat import Chat, User
from engine.train.tasks.checks import CodeCheck
from engine.train.tasks.exercise import Exercise, Kind

LEAST_NUMBER: Final = 4
"""Constants below stand elsewhere in the code too (`% 2`, `** 3`), where an order to change one would be ambiguous."""

LAYOUTS: Final = ("{code}\n\n{order}", "{order}\n\n{code}", "Here is a function:\n\n{code}\n\n{order}")


@dataclass(frozen=True, slots=True)
class Version:
    """A function and everything that decides what it does."""

    split: Split
    parts: Composition[Any]
    names: Names
    kept: int | str
    changed: int | str

    def cases(self, random: Random) -> tuple[Case, ...]:
        """Hidden cases; arguments go by name, so that a parameter must be called what it was asked to be called."""
        samples = self.parts.samples(random, self.kept, self.changed)
        return tuple(Case((argument,), expected, self.names.parameters) for argument, expected in samples)


@dataclass(frozen=True, slots=True)
class Edit:
    """The function as it was, and what shall become of it, in English."""

    before: Version
    order: str


def exercise(random: Random, split: Split) -> Exercise:
    """One edit; both versions are of the training split if the new one is."""
    while True:
        after = _version(random, split)
        edit = random.choice(EDITS)(random, after)
        if edit is not None and (split is Split.HELD_OUT or split_of(edit.before.parts.key) is split):
            break
    code = fenced(edit.before.parts.code(edit.before.names))
    asked = random.choice(LAYOUTS).format(code=code, order=edit.order)
    check = CodeCheck(after.names.function, after.cases(random))
    return Exercise(Kind.EDIT, Chat((User(asked),)), fenced(after.parts.code(after.names)), check)


def constant(random: Random, after: Version) -> Edit | None:
    """Another constant in the filter."""
    sort = after.parts.keep.constant
    if sort is Constant.NONE or after.parts.change.constant is not Constant.NONE:
        return None
    old = after.parts.subject.constant(random, sort)
    if old == after.kept or (sort is not Constant.LETTER and min(int(old), int(after.kept)) < LEAST_NUMBER):
        return None
    before = replace(after, names=replace(after.names, kept=str(old)), kept=old)
    was, now = (f'"{old}"', f'"{after.kept}"') if sort is Constant.LETTER else (str(old), str(after.kept))
    order = random.choice(("Use {1} instead of {0}.", "Change {0} to {1}.", "Replace {0} by {1}.")).format(was, now)
    return Edit(before, order)


def function(random: Random, after: Version) -> Edit | None:
    """Another name for the function."""
    old, new = function_name(random, after.split), after.names.function
    if old == new:
        return None
    orders = ("Rename the function to `{1}`.", "Rename `{0}` to `{1}`.", "Call the function `{1}` instead.")
    return Edit(replace(after, names=replace(after.names, function=old)), random.choice(orders).format(old, new))


def parameter(random: Random, after: Version) -> Edit | None:
    """Another name for the parameter."""
    old, (new,) = random.choice(after.parts.subject.family.parameters), after.names.parameters
    if old == new:
        return None
    orders = ("Rename the parameter to `{1}`.", "Rename the parameter `{0}` to `{1}`.", "Call its parameter `{1}` instead.")
    return Edit(replace(after, names=replace(after.names, parameters=(old,))), random.choice(orders).format(old, new))


def add_filter(random: Random, after: Version) -> Edit | None:
    """A filter where there was none."""
    keep = after.parts.keep
    if not keep.clauses:
        return None
    clause = random.choice(keep.clauses).replace("{k}", after.names.kept)
    before = replace(after, parts=replace(after.parts, keep=after.parts.subject.family.filters[0]))
    return Edit(before, random.choice(("First, {}.", "Add a filter: {}.", "Before all else, {}.")).format(clause))


def drop_filter(random: Random, after: Version) -> Edit | None:
    """No filter where there was one."""
    if after.parts.keep.clauses:
        return None
    keep = random.choice(after.parts.subject.family.filters[1:])
    kept = after.parts.subject.constant(random, keep.constant)
    parts, names = replace(after.parts, keep=keep), replace(after.names, kept=str(kept))
    before = replace(after, parts=parts, names=names, kept=kept)
    return Edit(before, random.choice(("Remove the filter.", "Drop the condition.", "Do not filter any more.")))


def reduction(random: Random, after: Version) -> Edit | None:
    """Another result."""
    fold = random.choice(after.parts.subject.family.reductions)
    before = replace(after, parts=replace(after.parts, fold=fold))
    if fold == after.parts.fold or not before.parts.sensible:
        return None
    clause = random.choice(after.parts.fold.clauses)
    return Edit(before, random.choice(("Instead, {}.", "Change the result: {}.", "At the end, {} instead.")).format(clause))


EDITS: Final[tuple[Callable[[Random, Version], Edit | None], ...]] = (
    constant, function, parameter, add_filter, drop_filter, reduction,
)  # fmt: skip


def _version(random: Random, split: Split) -> Version:
    parts = random.choice(plain_compositions(split))
    kept, changed = parts.constants(random)
    first = random.choice(parts.subject.family.parameters)
    names = Names(function_name(random, split), (first,), str(kept), str(changed))
    return Version(split, parts, names, kept, changed)
