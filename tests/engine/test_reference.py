"""The independent check: another implementation of architecture and decoders gives the same greedy text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.engine import Engine
from engine.events import Event
from engine.model.checkpoint import LoadedModel, load
from engine.request import Mode
from engine.train.grammar import Split, task
from engine.train.messages import Role
from tests.engine.chat_format import Message, render_chat
from tests.engine.harness import asked, events_of, finished, loaded, output
from tests.engine.reference import Reference, Said
from tests.engine.small import TINY, random_network, small_config, small_network

BLOCK, THRESHOLD, MOST = 32, 0.9, 96
QUESTIONS = 8


def ours(given: LoadedModel, mode: Mode, prompts: list[list[int]]) -> list[list[Event]]:
    """What the engine says to each prompt at block 32 and threshold 0.9."""
    stop = (given.config.eos_token_id,)
    requests = [asked(mode, prompt, MOST, block=BLOCK, threshold=THRESHOLD, stop=stop) for prompt in prompts]
    found = events_of(Engine(given), *requests)
    return [found[request.id] for request in requests]


def theirs(reference: Reference, mode: Mode, prompt: list[int]) -> Said:
    """What the reference says."""
    if mode is Mode.AR:
        return reference.ar(prompt, MOST)
    if mode is Mode.LINEAR_SPEC:
        return reference.linear_spec(prompt, MOST, BLOCK, ahead=True)
    return reference.diffusion(prompt, MOST // BLOCK, BLOCK, THRESHOLD)


def forwards(mode: Mode, said: Said) -> int:
    """The reference's passes as the engine counts them: those of the prompt are prefill."""
    return said.passes - (mode is not Mode.DIFFUSION)


@pytest.mark.parametrize("mode", [Mode.AR, Mode.DIFFUSION, Mode.LINEAR_SPEC])
def test_the_shipped_checkpoint_says_the_same_elsewhere(mode: Mode) -> None:
    """On held-out questions text and number of passes are those of the released decoders, which may propose any token.

    `linear_spec` drafts ahead, which they do not: its text is theirs, and it needs fewer passes for it.
    """
    given = load(TINY)
    questions = [task(6_100_000 + n, Split.HELD_OUT).prompt for n in range(QUESTIONS)]
    prompts = [render_chat(given.tokenizer, [Message(Role.USER, question)]) for question in questions]
    reference = Reference(given)
    for prompt, events in zip(prompts, ours(given, mode, prompts), strict=True):
        said = theirs(reference, mode, prompt)
        assert output(events) == said.ids[:MOST]
        assert finished(events).forwards == forwards(mode, said)
        if mode is Mode.LINEAR_SPEC:
            released = reference.linear_spec(prompt, MOST, BLOCK)
            assert released.ids == said.ids and released.passes > said.passes


@pytest.mark.parametrize("mode", [Mode.AR, Mode.DIFFUSION, Mode.LINEAR_SPEC])
@pytest.mark.parametrize("theta", [1e6, 1e9])
def test_random_weights_with_a_drafter_say_the_same_elsewhere(mode: Mode, theta: float) -> None:
    """So does a random network with a LoRA that matters, in the shape and rotary base of either end of the family."""
    config = replace(small_config(), rope=replace(small_config().rope, theta=theta))
    given = loaded(random_network(config, seed=7))
    prompts = [[(11 * n + 3 * start) % 99 for n in range(5 + 9 * start)] for start in range(3)]
    reference = Reference(given, never=config.mask_token_id)
    for prompt, events in zip(prompts, ours(given, mode, prompts), strict=True):
        said = theirs(reference, mode, prompt)
        assert output(events) == said.ids[:MOST]
        assert finished(events).forwards == forwards(mode, said)


def test_the_lora_decides_drafts_and_not_text() -> None:
    """With the drafter off the text is the same and the passes are others, here as there."""
    prompt = list(range(3, 20))
    with_lora, without = (loaded(small_network(9, lora=lora, spread=3.0)) for lora in (True, False))
    said = [theirs(Reference(given, never=100), Mode.LINEAR_SPEC, prompt) for given in (with_lora, without)]
    found = [ours(given, Mode.LINEAR_SPEC, [prompt])[0] for given in (with_lora, without)]
    assert said[0].ids[:MOST] == said[1].ids[:MOST] == output(found[0]) == output(found[1])
    assert [finished(events).forwards for events in found] == [each.passes - 1 for each in said]
    assert said[0].passes != said[1].passes
