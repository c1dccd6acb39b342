"""The two checkpoints that serve the clients. Neither is judged by what it says: the loop around it is.

`tooled`: the shipped weights with two files changed, a chat template that knows tools and a context long enough for a client's
system prompt. What it says is held by a grammar.

`listener`: made by hand, not trained, in the same layout and with a context for whole requests of 80 kB. Its one layer does one
thing: it opens an answer with a call, unless a tool's result stands anywhere in its prompt. So a client that can be told
nothing of `tool_choice` calls a tool once and then ends its loop. Otherwise it babbles.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

import torch

from engine.config import ModelConfig, RopeConfig
from engine.model.network import Network
from engine.tokenizer import CALL_START, THINK_END, Tokenizer
from engine.train.saving import save
from engine.train.vocabulary import CHAT_TEMPLATE
from tests.engine.small import TINY

TOOLED_CONTEXT: Final = 16_384
LISTENER_CONTEXT: Final = 131_040
"""The most that the page pool holds."""

ALWAYS, RESULT, OPENING, HEARD = range(4)
"""Coordinates of the listener's hidden state: 1 in every token, in a mark of a result, in the last token of a prompt; heard."""
WORDS: Final = 128
"""The first id that stands for text."""
HEADS, SIZE = 2, 32


def tooled(folder: Path) -> Path:
    """The shipped checkpoint, given room."""
    shutil.copytree(TINY, folder)
    shape = folder / "config.json"
    document = json.loads(shape.read_text(encoding="utf-8")) | {"max_position_embeddings": TOOLED_CONTEXT}
    shape.write_text(json.dumps(document, indent=2), encoding="utf-8")
    return folder


def listener(folder: Path) -> Path:
    """The checkpoint that calls until it hears, with the shipped vocabulary."""
    tokenizer, network = Tokenizer.load(TINY), Network(_shape(), lora_rank=4)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.zero_()
        _embed(network, tokenizer)
        _listen(network)
        _speak(network, tokenizer)
    save(folder, network, TINY)
    (folder / "chat_template.jinja").write_bytes(CHAT_TEMPLATE.read_bytes())
    return folder


def _shape() -> ModelConfig:
    return ModelConfig(
        hidden_size=64,
        num_hidden_layers=1,
        intermediate_size=64,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        head_dim=SIZE,
        vocab_size=1024,
        rms_norm_eps=1e-5,
        rope=RopeConfig(theta=1e6, factor=16.0, original_max_position=16384),
        max_position_embeddings=LISTENER_CONTEXT,
        bos_token_id=1,
        eos_token_id=11,
        mask_token_id=100,
        block_size=32,
    )


def _embed(network: Network, tokenizer: Tokenizer) -> None:
    """Noise, and what the layer listens for."""
    table = network.embed_tokens.weight
    table.normal_(generator=torch.Generator().manual_seed(7))
    table[:, ALWAYS], table[:, RESULT : HEARD + 1] = 4.0, 0.0
    table[tokenizer.id_of("<tool_response>"), RESULT] = 8.0
    table[tokenizer.id_of(THINK_END), OPENING] = 8.0


def _listen(network: Network) -> None:
    """One head looks for a mark of a result: with one in sight it sees nothing else, with none it sees an average of zeros."""
    weights = {name.removeprefix("layers.0.self_attn."): weight for name, weight in network.named_parameters()}
    slowest = SIZE // 2 - 1  # the pair of dimensions that turns so slowly that a distance is nothing to it
    for head in range(HEADS):
        weights["q_proj.weight"][head * SIZE + slowest, ALWAYS] = 4.0
    weights["k_proj.weight"][slowest, RESULT] = 4.0
    weights["v_proj.weight"][0, RESULT] = 0.2
    weights["o_proj.weight"][HEARD, 0] = 12.0


def _speak(network: Network, tokenizer: Tokenizer) -> None:
    """Text at random, now and then an end, and a call at the opening, unless something was heard."""
    head = network.diffusion_head.weight
    head[WORDS:, HEARD + 1 :].normal_(std=0.15, generator=torch.Generator().manual_seed(8))
    head[:WORDS, ALWAYS] = -2.0
    head[tokenizer.eos_id, ALWAYS], head[tokenizer.eos_id, HEARD] = 1.2, 0.5
    head[tokenizer.id_of(CALL_START), OPENING], head[tokenizer.id_of(CALL_START), HEARD] = 5.0, -10.0
