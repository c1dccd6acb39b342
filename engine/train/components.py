"""The words of the task grammar: filters, maps and reductions of both families.

Promise: each component carries one meaning three times, as English clauses, as code and as a Python callable.
Clauses start with a plain verb, so that the grammar can put it in the third person. A constant is of the
family's own element type and fills `{k}`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import prod
from typing import Generic, TypeVar

T = TypeVar("T", int, str)


class Constant(StrEnum):
    """What fills `{k}` in a component."""

    NONE = "none"
    NUMBER = "number"
    LENGTH = "length"
    LETTER = "letter"


class Mapped(StrEnum):
    """Whether a reduction can tell mapped elements from unmapped ones."""

    SEES = "sees"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class Filter(Generic[T]):
    """Keeps an element when `test(element, constant)`; `code` is that condition, empty when all are kept."""

    name: str
    clauses: tuple[str, ...]
    title: str
    code: str
    test: Callable[[T, T], bool]
    constant: Constant = Constant.NONE


@dataclass(frozen=True, slots=True)
class Map(Generic[T]):
    """Turns an element into `apply(element, constant)`; `title` wraps the title of the filter in `{}`."""

    name: str
    clauses: tuple[str, ...]
    title: str
    code: str
    apply: Callable[[T, T], T]
    constant: Constant = Constant.NONE


@dataclass(frozen=True, slots=True)
class Reduction(Generic[T]):
    """Folds the kept and mapped elements; `step` is the loop body with the mapped element in `{}`."""

    name: str
    clauses: tuple[str, ...]
    title: str
    start: str
    step: str
    finish: str
    apply: Callable[[list[T]], object]
    mapped: Mapped = Mapped.SEES


@dataclass(frozen=True, slots=True)
class Family(Generic[T]):
    """Everything that can be asked about one kind of list; `item` names the loop variable."""

    name: str
    kind: str
    item: str
    parameters: tuple[str, ...]
    filters: tuple[Filter[T], ...]
    maps: tuple[Map[T], ...]
    reductions: tuple[Reduction[T], ...]


VERBS = (
    "collect", "compute", "find", "get", "gather", "measure", "pick", "process",
    "reduce", "build", "extract", "handle", "make", "scan", "select", "solve",
)  # fmt: skip
NOUNS = (
    "scores", "values", "items", "prices", "totals", "points", "results", "levels", "ages", "records",
    "names", "labels", "tags", "titles", "words", "keys", "codes", "marks", "sizes", "grades",
    "orders", "counts", "rates", "steps", "cells", "parts", "units", "votes", "goals", "notes",
)  # fmt: skip

NUMBERS: Family[int] = Family(
    name="numbers",
    kind="a list of integers",
    item="value",
    parameters=("values", "numbers", "data", "items", "entries", "xs"),
    filters=(
        Filter("all", (), "the numbers", "", lambda v, k: True),
        Filter("even", ("keep only the even ones", "drop the odd ones", "select the even numbers"),
               "the even numbers", "value % 2 == 0", lambda v, k: v % 2 == 0),
        Filter("odd", ("keep only the odd ones", "drop the even ones", "select the odd numbers"),
               "the odd numbers", "value % 2 == 1", lambda v, k: v % 2 == 1),
        Filter("positive", ("keep only the positive ones", "select the numbers above zero"),
               "the positive numbers", "value > 0", lambda v, k: v > 0),
        Filter("negative", ("keep only the negative ones", "select the numbers below zero"),
               "the negative numbers", "value < 0", lambda v, k: v < 0),
        Filter("nonzero", ("keep only the nonzero ones", "drop the zeros"),
               "the nonzero numbers", "value != 0", lambda v, k: v != 0),
        Filter("above", ("keep only those greater than {k}", "select the numbers above {k}"),
               "the numbers greater than {k}", "value > {k}", lambda v, k: v > k, Constant.NUMBER),
        Filter("below", ("keep only those less than {k}", "select the numbers below {k}"),
               "the numbers less than {k}", "value < {k}", lambda v, k: v < k, Constant.NUMBER),
        Filter("at_least", ("keep only those that are at least {k}", "drop the numbers below {k}"),
               "the numbers at least {k}", "value >= {k}", lambda v, k: v >= k, Constant.NUMBER),
        Filter("at_most", ("keep only those that are at most {k}", "drop the numbers above {k}"),
               "the numbers at most {k}", "value <= {k}", lambda v, k: v <= k, Constant.NUMBER),
        Filter("divisible", ("keep only those divisible by {k}", "select the multiples of {k}"),
               "the multiples of {k}", "value % {k} == 0", lambda v, k: v % k == 0, Constant.NUMBER),
        Filter("indivisible", ("keep only those not divisible by {k}", "drop the multiples of {k}"),
               "the numbers not divisible by {k}", "value % {k} != 0", lambda v, k: v % k != 0,
               Constant.NUMBER),
        Filter("different", ("keep only those different from {k}", "drop every number equal to {k}"),
               "the numbers different from {k}", "value != {k}", lambda v, k: v != k, Constant.NUMBER),
    ),
    maps=(
        Map("identity", (), "{}", "value", lambda v, k: v),
        Map("square", ("square each of them", "replace each with its square"),
            "the squares of {}", "value ** 2", lambda v, k: v * v),
        Map("cube", ("cube each of them", "raise each to the third power"),
            "the cubes of {}", "value ** 3", lambda v, k: v * v * v),
        Map("double", ("double each of them", "replace each with twice its value"),
            "the doubles of {}", "value * 2", lambda v, k: v + v),
        Map("negate", ("negate each of them", "flip the sign of each"),
            "the negatives of {}", "-value", lambda v, k: 0 - v),
        Map("absolute", ("take the absolute value of each", "replace each with its absolute value"),
            "the absolute values of {}", "abs(value)", lambda v, k: max(v, 0 - v)),
        Map("add", ("add {k} to each", "increase each by {k}"),
            "{}, each plus {k}", "value + {k}", lambda v, k: v + k, Constant.NUMBER),
        Map("subtract", ("subtract {k} from each", "decrease each by {k}"),
            "{}, each minus {k}", "value - {k}", lambda v, k: v - k, Constant.NUMBER),
        Map("multiply", ("multiply each by {k}", "scale each by {k}"),
            "{}, each times {k}", "value * {k}", lambda v, k: v * k, Constant.NUMBER),
        Map("remainder", ("take each modulo {k}", "replace each with its remainder by {k}"),
            "{}, each modulo {k}", "value % {k}", lambda v, k: v % k, Constant.NUMBER),
    ),
    reductions=(
        Reduction("sum", ("return their sum", "return the total of them"),
                  "the sum of {}", "0", "result += {}", "result", sum),
        Reduction("product", ("return their product", "return the product of them"),
                  "the product of {}", "1", "result *= {}", "result", prod),
        Reduction("count", ("return how many there are", "return their count"),
                  "the count of {}", "0", "result += 1", "result", len, Mapped.BLIND),
        Reduction("largest", ("return the largest, or 0 if there are none",
                              "return the maximum with default 0"),
                  "the largest of {}", "[]", "result.append({})", "max(result, default=0)",
                  lambda vs: max(vs) if vs else 0),
        Reduction("smallest", ("return the smallest, or 0 if there are none",
                               "return the minimum with default 0"),
                  "the smallest of {}", "[]", "result.append({})", "min(result, default=0)",
                  lambda vs: min(vs) if vs else 0),
        Reduction("list", ("return them as a list", "return the resulting list"),
                  "a list of {}", "[]", "result.append({})", "result", list),
        Reduction("sorted", ("return them in sorted order", "return a sorted list of them"),
                  "a sorted list of {}", "[]", "result.append({})", "sorted(result)", sorted),
        Reduction("distinct", ("return how many distinct results there are",
                               "return the number of different ones"),
                  "the distinct count of {}", "[]", "result.append({})", "len(set(result))",
                  lambda vs: len(set(vs))),
    ),
)  # fmt: skip

WORDS: Family[str] = Family(
    name="words",
    kind="a list of strings",
    item="word",
    parameters=("words", "names", "texts", "labels", "tokens", "strings"),
    filters=(
        Filter("all", (), "the words", "", lambda w, k: True),
        Filter("longer", ("keep only those longer than {k} letters",
                          "select the words with more than {k} letters"),
               "the words longer than {k}", "len(word) > {k}", lambda w, k: len(w) > int(k), Constant.LENGTH),
        Filter("shorter", ("keep only those shorter than {k} letters",
                           "select the words with fewer than {k} letters"),
               "the words shorter than {k}", "len(word) < {k}", lambda w, k: len(w) < int(k),
               Constant.LENGTH),
        Filter("starting", ('keep only those starting with "{k}"', 'select the words that start with "{k}"'),
               "the words starting with {k}", 'word.startswith("{k}")', lambda w, k: w[:1] == k,
               Constant.LETTER),
        Filter("ending", ('keep only those ending with "{k}"', 'select the words that end with "{k}"'),
               "the words ending with {k}", 'word.endswith("{k}")', lambda w, k: w[-1:] == k,
               Constant.LETTER),
        Filter("containing", ('keep only those containing "{k}"', 'select the words that contain "{k}"'),
               "the words containing {k}", '"{k}" in word', lambda w, k: w.count(k) > 0,
               Constant.LETTER),
        Filter("lacking", ('keep only those without "{k}"', 'drop the words that contain "{k}"'),
               "the words without {k}", '"{k}" not in word', lambda w, k: w.count(k) == 0, Constant.LETTER),
        Filter("nonempty", ("keep only the nonempty ones", "drop the empty ones"),
               "the nonempty words", 'word != ""', lambda w, k: len(w) > 0),
        Filter("lowercase", ("keep only the lowercase ones", "select the words in lowercase"),
               "the lowercase words", "word.islower()", lambda w, k: bool(w) and w == w.lower()),
        Filter("palindrome", ("keep only the palindromes", "select the words equal to their reverse"),
               "the palindromes", "word == word[::-1]", lambda w, k: list(w) == list(reversed(w))),
    ),
    maps=(
        Map("identity", (), "{}", "word", lambda w, k: w),
        Map("upper", ("convert each to uppercase", "replace each with its uppercase form"),
            "the uppercase forms of {}", "word.upper()", lambda w, k: w.upper()),
        Map("lower", ("convert each to lowercase", "replace each with its lowercase form"),
            "the lowercase forms of {}", "word.lower()", lambda w, k: w.lower()),
        Map("capitalize", ("capitalize each of them", "replace each with its capitalized form"),
            "the capitalized forms of {}", "word.capitalize()", lambda w, k: w[:1].upper() + w[1:].lower()),
        Map("reverse", ("reverse each of them", "replace each with its reverse"),
            "the reverses of {}", "word[::-1]", lambda w, k: "".join(reversed(w))),
        Map("repeat", ("repeat each of them twice", "replace each with two copies of itself"),
            "the repeats of {}", "word * 2", lambda w, k: w + w),
        Map("first", ("take the first letter of each", "replace each with its first letter"),
            "the first letters of {}", "word[:1]", lambda w, k: "".join(list(w)[:1])),
        Map("last", ("take the last letter of each", "replace each with its last letter"),
            "the last letters of {}", "word[-1:]", lambda w, k: "".join(list(w)[-1:])),
    ),
    reductions=(
        Reduction("joined", ('join them with "-"', 'return them joined with "-"'),
                  "the join of {}", "[]", "result.append({})", '"-".join(result)', "-".join),
        Reduction("list", ("return them as a list", "return the resulting list"),
                  "a list of {}", "[]", "result.append({})", "result", list),
        Reduction("sorted", ("return them in sorted order", "return a sorted list of them"),
                  "a sorted list of {}", "[]", "result.append({})", "sorted(result)", sorted),
        Reduction("count", ("return how many there are", "return their count"),
                  "the count of {}", "0", "result += 1", "result", len, Mapped.BLIND),
        Reduction("distinct", ("return how many distinct results there are",
                               "return the number of different ones"),
                  "the distinct count of {}", "[]", "result.append({})", "len(set(result))",
                  lambda ws: len(set(ws))),
        Reduction("total", ("return their total length", "return the sum of their lengths"),
                  "the total length of {}", "0", "result += len({})", "result", lambda ws: len("".join(ws))),
        Reduction("longest", ("return the longest length, or 0 if there are none",
                              "return the maximum length with default 0"),
                  "the longest length of {}", "[]", "result.append(len({}))", "max(result, default=0)",
                  lambda ws: max(map(len, ws)) if ws else 0),
    ),
)  # fmt: skip

NUMBER_TABLES: Family[int] = replace(
    NUMBERS,
    reductions=(
        Reduction("tally", ("return a dictionary that counts each of them",
                            "return a dictionary of how often each occurs"),
                  "the tally of {}", "{}", "result[{}] = result.get({}, 0) + 1", "result",
                  lambda vs: dict(Counter(vs))),
    ),
)  # fmt: skip

WORD_TABLES: Family[str] = replace(
    WORDS,
    reductions=(
        Reduction("tally", ("return a dictionary that counts each of them",
                            "return a dictionary of how often each occurs"),
                  "the tally of {}", "{}", "result[{}] = result.get({}, 0) + 1", "result",
                  lambda ws: dict(Counter(ws))),
        Reduction("lengths", ("return a dictionary from each to its length",
                              "return a dictionary that maps each to its length"),
                  "the lengths of {}", "{}", "result[{}] = len({})", "result",
                  lambda ws: {w: len(w) for w in ws}),
    ),
)  # fmt: skip
