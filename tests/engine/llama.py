"""Our weights in transformers' own Llama: the reference for greedy `ar`, and the peer it is timed against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from engine.model.checkpoint import LoadedModel

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


def llama(given: LoadedModel) -> LlamaForCausalLM:
    """The same weights in transformers: `encoder.` is `model.`, the diffusion head is the head, attention factor is 1."""
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

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
