"""The loading laws at every size of the family: real config documents and names, shapes scaled down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from engine.config import CheckpointError, ModelConfig
from engine.engine import Engine
from engine.model.checkpoint import load
from engine.model.rope import inverse_frequencies
from engine.request import Mode
from engine.train.messages import Role
from tests.engine.chat_format import Message, render_chat
from tests.engine.harness import asked, events_of, output
from tests.engine.small import TINY

# layers, hidden, intermediate, heads, key heads, head_dim, theta, factor: ratios as released, an eighth to a 128th in size
SIZES: dict[str, tuple[int, int, int, int, int, int, float, float]] = {
    "3B": (26, 24, 72, 4, 1, 8, 1e6, 16.0),
    "8B": (34, 32, 112, 4, 1, 8, 1e6, 16.0),
    "14B": (40, 40, 128, 4, 1, 8, 1e9, 16.0),
    "3B-Base": (26, 24, 72, 4, 1, 8, 1e6, 0.25),
}
TENSORS = {"3B": 237, "8B": 309, "14B": 363, "3B-Base": 237}
RANK = 4
TOLD = "base_model.model.encoder.layers.{}.self_attn.o_proj.lora_{}.weight"


def document(size: str) -> dict[str, Any]:
    """`config.json` as the release has it, keys that we do not read included."""
    layers, hidden, intermediate, heads, keys, head_dim, theta, factor = SIZES[size]
    return {
        "architectures": ["NemotronLabsDiffusionModel"],
        "model_type": "nemotron_labs_diffusion",
        "auto_map": {"AutoModel": "modeling_nemotron_labs_diffusion.NemotronLabsDiffusionModel"},
        "vocab_size": 1024, "hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": intermediate,
        "num_attention_heads": heads, "num_key_value_heads": keys, "head_dim": head_dim,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0,
        "tie_word_embeddings": False, "sliding_window": None, "initializer_range": 0.02, "torch_dtype": "bfloat16",
        "attn_implementation": "sdpa", "use_cache": False, "bos_token_id": 1,
        "eos_token_id": 2 if size == "3B-Base" else 11, "mask_token_id": 100, "block_size": 32,
        "dlm_paradigm": "bidirectional", "dlm_loss_weight": None, "ar_loss_weight": 1.0, "dp_varying_mask_ratio": False,
        "max_position_embeddings": 4096 if size == "3B-Base" else 262144, "transformers_version": "5.0.0",
        "rope_parameters": {
            "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": 16384, "beta_fast": 32,
            "beta_slow": 1, "mscale": 1, "mscale_all_dim": 1, "rope_theta": theta, "llama_4_scaling_beta": 0.1,
        },
    }  # fmt: skip


def shapes(size: str) -> dict[str, tuple[int, ...]]:
    """Every tensor of the release, written down by name."""
    layers, hidden, intermediate, heads, keys, head_dim, _, _ = SIZES[size]
    queries, kept = heads * head_dim, keys * head_dim
    found: dict[str, tuple[int, ...]] = {
        "encoder.embed_tokens.weight": (1024, hidden),
        "encoder.norm.weight": (hidden,),
        "diffusion_head.weight": (1024, hidden),
    }
    for n in range(layers):
        found |= {
            f"encoder.layers.{n}.{name}.weight": shape
            for name, shape in {
                "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
                "self_attn.q_proj": (queries, hidden), "self_attn.k_proj": (kept, hidden),
                "self_attn.v_proj": (kept, hidden), "self_attn.o_proj": (hidden, queries),
                "mlp.gate_proj": (intermediate, hidden), "mlp.up_proj": (intermediate, hidden),
                "mlp.down_proj": (hidden, intermediate),
            }.items()
        }  # fmt: skip
    return found


def released(folder: Path, size: str) -> Path:
    """A folder as the release has it: bfloat16 weights, float32 LoRA, tokenizer and template."""
    layers, hidden, _, heads, _, head_dim, _, _ = SIZES[size]
    generator = torch.Generator().manual_seed(1)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(document(size)))
    weights = {name: torch.randn(shape, generator=generator).bfloat16() for name, shape in shapes(size).items()}
    save_file(weights, folder / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((TINY / name).read_bytes())
    if size != "3B-Base":
        lora = folder / "linear_spec_lora"
        lora.mkdir()
        settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 4 * RANK, "target_modules": ["o_proj"]}
        (lora / "adapter_config.json").write_text(json.dumps(settings))
        pairs = {"A": (RANK, heads * head_dim), "B": (hidden, RANK)}
        tensors = {TOLD.format(n, side): torch.randn(shape, generator=generator)
                   for n in range(layers) for side, shape in pairs.items()}  # fmt: skip
        save_file(tensors, lora / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize("size", SIZES)
def test_a_release_loads(tmp_path: Path, size: str) -> None:
    """Every size loads by its own names, value for value, with its LoRA if it has one, and answers in every mode."""
    model = load(released(tmp_path / "model", size))
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert len(stored) == TENSORS[size]
    assert torch.equal(model.network.layers[25].get_parameter("self_attn.o_proj.weight"),
                       stored["encoder.layers.25.self_attn.o_proj.weight"].float())  # fmt: skip
    assert torch.equal(model.network.diffusion_head.weight, stored["diffusion_head.weight"].float())
    lora = model.network.layers[3].get_parameter("self_attn.lora_b")
    assert lora.shape[1] == (1 if size == "3B-Base" else RANK) and bool(lora.any()) is (size != "3B-Base")
    requests = [asked(mode, range(20, 30), 8) for mode in (Mode.AR, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC)]
    found = events_of(Engine(model), *requests)
    assert len({output(found[request.id]) for request in requests}) == 1


@pytest.mark.parametrize("size", SIZES)
def test_quirks_are_obeyed_as_written(tmp_path: Path, size: str) -> None:
    """head_dim is not hidden / heads at 3B and 14B, theta is 1e9 at 14B, and a YaRN factor of 0.25 stretches nothing away."""
    (tmp_path / "config.json").write_text(json.dumps(document(size)))
    config = ModelConfig.read(tmp_path)
    _, hidden, _, _, _, head_dim, theta, factor = SIZES[size]
    assert (config.num_attention_heads * config.head_dim == hidden) is (size == "8B")
    assert (config.head_dim, config.rope.theta, config.rope.factor) == (head_dim, theta, factor)
    slowest = float(inverse_frequencies(config.rope, 128)[-1])
    assert slowest == pytest.approx(theta ** (-126 / 128) / factor)


def test_older_spellings_of_the_rotary_settings_are_the_same(tmp_path: Path) -> None:
    """`rope_scaling` with a top-level theta says what `rope_parameters` says."""
    given = document("14B")
    expected = ModelConfig.from_document(given)
    rope = given.pop("rope_parameters")
    given |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope | {"type": rope.pop("rope_type")}}
    assert ModelConfig.from_document(given) == expected


@pytest.mark.parametrize("place", ["model.safetensors", "linear_spec_lora/adapter_model.safetensors"])
@pytest.mark.parametrize("change", ["missing", "extra", "misshapen", "integer"])
def test_a_wrong_tensor_is_named(tmp_path: Path, place: str, change: str) -> None:
    """Of 8B's 309 tensors or its LoRA's 68, one that is missing, extra, misshapen or no number of ours is named."""
    path = released(tmp_path / "model", "8B") / place
    tensors = load_file(path)
    name = next(name for name in tensors if "layers.17.self_attn.o_proj" in name)
    if change == "missing":
        del tensors[name]
    elif change == "extra":
        name = name.replace("o_proj", "z_proj")
        tensors[name] = torch.zeros(2)
    elif change == "misshapen":
        tensors[name] = tensors[name].reshape(-1, tensors[name].shape[0] * 2).clone()
    else:
        tensors[name] = torch.zeros(tensors[name].shape, dtype=torch.int8)
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="I8" if change == "integer" else name):
        load(tmp_path / "model")


def test_a_lora_folder_must_hold_a_lora(tmp_path: Path) -> None:
    """An adapter file with nothing in it is not taken for a checkpoint without a drafter."""
    folder = released(tmp_path / "model", "8B")
    save_file({}, folder / "linear_spec_lora" / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing tensors .*lora_A"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"r": 0}, "r must"), ({"r": "4"}, "r must"), ({"lora_alpha": None}, "lora_alpha"), ({"r": 10**9}, "r must"),
     ({"use_rslora": True}, "rsLoRA"), ({"target_modules": ["q_proj"]}, "o_proj"), ({"lora_alpha": RANK}, "alpha")],
)  # fmt: skip
def test_another_kind_of_lora_is_refused(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    """A LoRA of another rank, scale, target or kind would draft wrongly without a sign."""
    folder = released(tmp_path / "model", "8B")
    path = folder / "linear_spec_lora" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=named):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"hidden_size": 10**12}, "hidden_size"), ({"num_hidden_layers": 0}, "num_hidden_layers"), ({"head_dim": 7}, "head_dim"),
     ({"num_key_value_heads": 3}, "num_key_value_heads"), ({"mask_token_id": 1024}, "mask_token_id"),
     ({"eos_token_id": [11]}, "eos_token_id"), ({"vocab_size": 1024.5}, "vocab_size"), ({"block_size": True}, "block_size"),
     ({"rms_norm_eps": -1.0}, "rms_norm_eps"), ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
     ({"tie_word_embeddings": True}, "tie_word_embeddings"), ({"model_type": "llama"}, "model_type"),
     ({"hidden_act": "gelu"}, "hidden_act"), ({"sliding_window": 4096}, "sliding_window")],
)  # fmt: skip
def test_a_config_that_cannot_be_is_refused(changes: dict[str, Any], named: str) -> None:
    """Sizes out of all proportion, of the wrong type or at odds with one another, and other arithmetic, are named at once."""
    with pytest.raises(CheckpointError, match=named):
        ModelConfig.from_document(document("8B") | changes)


def test_a_config_allocates_no_more_than_the_files_hold(tmp_path: Path) -> None:
    """A config that promises a terabyte over a small file fails at once, by comparing names and shapes."""
    folder = released(tmp_path / "model", "8B")
    big = {"hidden_size": 1 << 16, "intermediate_size": 1 << 20, "vocab_size": 1 << 22}
    (folder / "config.json").write_text(json.dumps(document("8B") | big))
    with pytest.raises(CheckpointError, match="expected"):
        load(folder)


def test_the_chat_template_beside_the_weights_is_the_one_that_is_spoken(tmp_path: Path) -> None:
    """Other software, reading tokenizer and template from the folder, gives the prompt that we give."""
    folder = released(tmp_path / "model", "8B")
    others = PreTrainedTokenizerFast.from_pretrained(folder)
    messages = [{"role": "user", "content": "Sum a list."}]
    theirs = others.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert theirs == (
        "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nSum a list.<|im_end|>\n<|im_start|>assistant\n<think></think>"
    )
    ours = render_chat(load(folder).tokenizer, [Message(Role.USER, "Sum a list.")])
    assert others.encode(theirs, add_special_tokens=False) == ours
