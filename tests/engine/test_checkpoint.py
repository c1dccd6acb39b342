"""Loading: exact names, hard errors, the drafter's scale, and nothing but safetensors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.config import CheckpointError, ModelConfig
from engine.model.checkpoint import digest, load
from engine.model.network import Attention, Place, plain_linear
from engine.train.saving import save
from engine.train.vocabulary import build
from tests.engine.small import small_config, small_network


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    build(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, vocabulary: Path) -> Path:
    save(tmp_path / "model", small_network(3, vocab_size=1024), vocabulary)
    return tmp_path / "model"


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_saved_weights_come_back_bit_for_bit(folder: Path) -> None:
    """A checkpoint loads to the very tensors that were saved, and its digest names them."""
    network = small_network(3, vocab_size=1024)
    loaded = load(folder)
    for (name, before), (_, after) in zip(network.named_parameters(), loaded.network.named_parameters(), strict=True):
        assert torch.equal(before, after), name
    assert loaded.weights_digest == digest(folder)
    assert loaded.config == small_config(1024)


def test_weights_for_a_device_are_read_from_their_files(tmp_path: Path, vocabulary: Path) -> None:
    """For a device nothing that is stored as it is wanted is copied on the host; for the host everything is."""
    network = small_network(3, vocab_size=1024)
    save(tmp_path / "model", network, vocabulary, torch.bfloat16)
    ours, theirs = load(tmp_path / "model").network, load(tmp_path / "model", device="cuda").network
    stored = [name for name, _ in theirs.named_parameters() if "lora_" not in name]
    assert all(_mapped(theirs.get_parameter(name), tmp_path) for name in stored)
    assert not any(_mapped(parameter, tmp_path) for parameter in ours.parameters())
    for name, parameter in network.named_parameters():
        assert torch.equal(theirs.get_parameter(name), parameter.bfloat16()), name


def _mapped(tensor: torch.Tensor, folder: Path) -> bool:
    """Whether a tensor lies where a file of the folder is mapped into memory."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    spans = [tuple(int(end, 16) for end in line[0].split("-")) for line in lines]
    return any(low <= tensor.data_ptr() < high for low, high in spans)


def test_names_are_those_of_the_release(folder: Path) -> None:
    """9 tensors a layer and 3 more, and the adapter's under PEFT's prefix."""
    names = set(load_file(folder / "model.safetensors"))
    assert len(names) == 9 * 2 + 3
    assert {"encoder.embed_tokens.weight", "encoder.norm.weight", "diffusion_head.weight"} <= names
    assert "encoder.layers.1.self_attn.o_proj.weight" in names
    adapter = set(load_file(folder / "linear_spec_lora" / "adapter_model.safetensors"))
    assert "base_model.model.encoder.layers.0.self_attn.o_proj.lora_A.weight" in adapter


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_a_wrong_tensor_is_a_hard_error(folder: Path, change: str) -> None:
    """A missing, an unknown or a misshapen tensor is refused by name."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    if change == "missing":
        del tensors["encoder.norm.weight"]
    elif change == "unknown":
        tensors["encoder.surprise.weight"] = torch.zeros(2)
    else:
        tensors["encoder.norm.weight"] = torch.zeros(7)
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="surprise" if change == "unknown" else "norm"):
        load(folder)


def test_prefixed_exports_load(folder: Path) -> None:
    """Exports that put every tensor under `language_model.` carry the same model."""
    path = folder / "model.safetensors"
    expected = load(folder).network.diffusion_head.weight.clone()
    save_file({f"language_model.{name}": value for name, value in load_file(path).items()}, path)
    assert torch.equal(expected, load(folder).network.diffusion_head.weight)


def test_lora_adds_four_times_b_a_x() -> None:
    """The drafter's product is scaled by alpha / r = 4 and only where the gate is open."""
    attention = small_network(5).layers[0].self_attn
    assert isinstance(attention, Attention)
    x = torch.randn(3, 64)
    gate = torch.tensor([1.0, 0.0, 1.0])

    def attend(layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return x.view(3, 4, 16)

    turn = (torch.ones(3, 1, 16), torch.zeros(3, 1, 16))
    hidden = torch.randn(3, 48)
    out = attention(hidden, Place(turn, torch.ones(3), gate), attend, plain_linear, None)
    expected = x @ attention.o_proj.weight.T + gate[:, None] * 4.0 * (x @ attention.lora_a.T @ attention.lora_b.T)
    assert torch.allclose(out, expected, atol=1e-5)


def test_another_scale_or_target_is_refused(folder: Path) -> None:
    """An adapter of another scale would draft wrongly without a sign, so it is refused."""
    _edit(folder / "linear_spec_lora" / "adapter_config.json", lora_alpha=8)
    with pytest.raises(CheckpointError, match="alpha"):
        load(folder)


@pytest.mark.parametrize("key", ["mask_token_id", "head_dim", "rope_parameters"])
def test_config_has_no_silent_defaults(folder: Path, key: str) -> None:
    """A key that changes the arithmetic must be there; the error names it."""
    path = folder / "config.json"
    document = json.loads(path.read_text())
    del document[key]
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=key):
        ModelConfig.read(folder)


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 1.0},
        {"rope_theta": 5e-324},
        {"original_max_position_embeddings": 0.5},
        {"llama_4_scaling_beta": float("nan")},
        {"factor": 1e-320},
        {"beta_fast": 1e308, "rope_theta": 1.0000000000000002},
        {"beta_slow": 5e-324},
        {"original_max_position_embeddings": 1e300},
        {"rope_theta": 10**400},
        {"llama_4_scaling_beta": -(10**400)},
        {"llama_4_scaling_beta": 1e300},
        {"attention_factor": 1.2772588722239782},
        {"truncate": False},
    ],
    ids=lambda rope: next(iter(rope)),
)
def test_positions_are_finite_and_ours_or_refused(folder: Path, rope: dict[str, float]) -> None:
    """Settings of which no frequency can be made, or another than ours, are an error of the config, never of the arithmetic."""
    path = folder / "config.json"
    document = json.loads(path.read_text())
    document["rope_parameters"] |= rope
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="holds a value that cannot be"):
        ModelConfig.read(folder)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja",
     "linear_spec_lora/adapter_config.json", "linear_spec_lora/adapter_model.safetensors"],
)  # fmt: skip
def test_what_is_no_file_is_refused_by_name(folder: Path, name: str, kind: str) -> None:
    """A checkpoint comes from elsewhere, links and all: what could be read for ever is not read at all."""
    place = folder / name
    place.unlink(missing_ok=True)
    match kind:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case _:
            place.symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match=rf"{place.name} is no regular file"):
        load(folder)


def test_a_pickle_is_never_opened(folder: Path) -> None:
    """Bytes that are no safetensors are an error, whatever they are."""
    (folder / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(CheckpointError, match="safetensors"):
        load(folder)


@pytest.mark.parametrize("place", ["config.json", "tokenizer.json"])
def test_config_and_tokenizer_are_of_one_model(folder: Path, place: str) -> None:
    """Another mask, or an id that the network has no row for, is refused before anything can be asked."""
    if place == "config.json":
        _edit(folder / place, mask_token_id=5)
    else:
        tokens = json.loads((folder / place).read_text())["added_tokens"]
        _edit(folder / place, added_tokens=[*tokens, {"id": 1024, "content": "<beyond>", "special": True}])
    with pytest.raises(CheckpointError, match="of different models"):
        load(folder)
