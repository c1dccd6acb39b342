"""Training examples in chat form.

Promise: an example is a pure function of (seed, split), whatever came before, so a run's data never depends on its speed.
"""

from dataclasses import dataclass

from engine.tokenizer import Message, Role, Tokenizer
from engine.train.grammar import Split, task


@dataclass(frozen=True, slots=True)
class Example:
    """A whole conversation: `ids[:prompt_length]` is the prompt and assistant opening; the last id is eos."""

    ids: tuple[int, ...]
    prompt_length: int


def example(seed: int, split: Split, tokenizer: Tokenizer) -> Example:
    """The task with this seed as ids: prompt, answer, end of turn."""
    made = task(seed, split)
    prompt = tokenizer.render_chat([Message(Role.USER, made.prompt)])
    return Example((*prompt, *tokenizer.encode(made.answer), tokenizer.eos_id), len(prompt))
