"""The law of parity: greedy `ar` is transformers' own Llama, given the same weights, token for token."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from engine.engine import Engine
from engine.model.checkpoint import LoadedModel, load
from engine.request import Mode
from engine.tokenizer import Message, Role
from engine.train.grammar import Split, task
from tests.engine.harness import asked, events_of, loaded, output
from tests.engine.small import TINY, small_network

PROMPTS = 20


def llama(given: LoadedModel) -> LlamaForCausalLM:
    """The same weights in transformers: `encoder.` is `model.`, the diffusion head is the head, attention factor is 1."""
    config = given.config
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            max_position_embeddings=config.max_position_embeddings,
            rms_norm_eps=config.rms_norm_eps,
            tie_word_embeddings=False,
            bos_token_id=config.bos_token_id,
            eos_token_id=config.eos_token_id,
            pad_token_id=0,
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": config.rope.theta,
                "factor": config.rope.factor,
                "original_max_position_embeddings": config.rope.original_max_position,
                "beta_fast": config.rope.beta_fast,
                "beta_slow": config.rope.beta_slow,
                "attention_factor": 1.0,
            },
        )
    )
    weights = {
        ("lm_head.weight" if name == "diffusion_head.weight" else f"model.{name}"): value
        for name, value in given.network.state_dict().items()
        if "lora_" not in name
    }
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not missing and not unexpected
    torch.nn.Module.eval(theirs)
    return theirs


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


def test_trained_weights_on_questions() -> None:
    """On twenty held-out questions the shipped checkpoint's whole greedy answers are transformers' own."""
    given = load(TINY)
    questions = [task(6_000_000 + n, Split.HELD_OUT).prompt for n in range(PROMPTS)]
    prompts = [torch.tensor(given.tokenizer.render_chat([Message(Role.USER, question)])) for question in questions]
    compare(given, prompts, tokens=96)
