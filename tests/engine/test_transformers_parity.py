"""The law of parity: greedy `ar` is transformers' own Llama, given the same weights, token for token."""

from __future__ import annotations

import pytest
import torch

from engine.engine import Engine
from engine.model.checkpoint import LoadedModel, load
from engine.request import Mode
from engine.train.grammar import Split, task
from engine.train.messages import Role
from tests.engine.chat_format import Message, render_chat
from tests.engine.harness import asked, events_of, loaded, output
from tests.engine.llama import llama
from tests.engine.small import TINY, small_network

PROMPTS = 20


def agree(given: LoadedModel) -> None:
    """Compare the greedy answers to twenty random prompts of many lengths."""
    generator = torch.Generator().manual_seed(5)
    sizes = [3 + 7 * n for n in range(PROMPTS)]
    compare(given, [torch.randint(0, given.config.vocab_size, (size,), generator=generator) for size in sizes], tokens=24)


def compare(given: LoadedModel, prompts: list[torch.Tensor], tokens: int) -> None:
    """Ours and theirs answer each prompt [n] with the same ids."""
    theirs = llama(given)
    requests = [asked(Mode.AR, prompt.tolist(), tokens, stop=(given.config.eos_token_id,)) for prompt in prompts]
    found = events_of(Engine(given), *requests)
    for prompt, request in zip(prompts, requests, strict=True):
        with torch.inference_mode():
            whole = theirs.generate(
                prompt[None],
                attention_mask=torch.ones_like(prompt)[None],
                max_new_tokens=tokens,
                do_sample=False,
                suppress_tokens=[given.config.mask_token_id],
            )
        assert tuple(whole[0, len(prompt) :].tolist()) == output(found[request.id])


@pytest.mark.parametrize("seed", [0, 1])
def test_random_weights(seed: int) -> None:
    """Random weights of the family's shape, with yarn rotary positions and grouped heads, give the same twenty answers."""
    agree(loaded(small_network(seed)))


def test_trained_weights() -> None:
    """So do the trained weights that the engine ships."""
    agree(load(TINY))


@pytest.mark.long
def test_trained_weights_on_questions() -> None:
    """On twenty held-out questions the shipped checkpoint's whole greedy answers are transformers' own."""
    given = load(TINY)
    questions = [task(6_000_000 + n, Split.HELD_OUT).prompt for n in range(PROMPTS)]
    prompts = [torch.tensor(render_chat(given.tokenizer, [Message(Role.USER, question)])) for question in questions]
    compare(given, prompts, tokens=96)
