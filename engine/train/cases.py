"""Hidden cases: arguments that tell one composition from its neighbours, and constants to write into them.

Promise: everything is drawn from the given generator, and nothing else decides. A filter's constant is always among the
arguments, and so are its borders, so that an answer with the wrong comparison is found out.
"""

from __future__ import annotations

from random import Random
from typing import Final

from engine.train.components import Constant

LISTS: Final = 6
"""Cases of one task; the first is always the empty list."""

LETTERS: Final = "abcdeilmnorst"
SAMPLE_WORDS: Final = (
    "level", "Noon", "apple", "Bread", "stone", "TREE", "noon", "a", "", "sand", "Ocean", "moss", "civic",
    "lantern", "Bottle", "it", "radar", "silver", "note", "table", "dress", "ember", "cat", "ROAD",
)  # fmt: skip


def integer_constant(random: Random, constant: Constant) -> int:
    """A constant of the numbers family; 0 where the component takes none."""
    return random.randint(2, 20) if constant is Constant.NUMBER else 0


def text_constant(random: Random, constant: Constant) -> str:
    """A constant of the words family: a length in digits or one letter; empty where the component takes none."""
    if constant is Constant.LENGTH:
        return str(random.randint(2, 9))
    return random.choice(LETTERS) if constant is Constant.LETTER else ""


def integer_sample(random: Random, constant: int) -> list[int]:
    """Six integers; the filter's constant and a multiple of it are always among them, to test borders."""
    drawn = [constant, constant * random.randint(-3, 3)] + [random.randint(-25, 25) for _ in range(4)]
    random.shuffle(drawn)
    return drawn


def word_sample(random: Random, constant: str) -> list[str]:
    """Six words; where the filter's constant is a letter, two of them wear it at an end."""
    drawn = random.choices(SAMPLE_WORDS, k=6)
    if constant.isdigit():
        drawn[0], drawn[1] = "x" * int(constant), "y" * (int(constant) + 1)
    elif constant:
        drawn[0], drawn[1] = constant + drawn[0], drawn[1] + constant
    random.shuffle(drawn)
    return drawn
