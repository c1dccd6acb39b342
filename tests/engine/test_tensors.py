"""Tensors on disk: shards under an index, and files that appear whole or not at all."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.config import CheckpointError
from engine.model.checkpoint import digest, load
from engine.model.tensors import INDEX, WEIGHTS
from engine.train.saving import save, whole, write
from tests.engine.small import TINY, small_network

SHARD = 60_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint in many shards."""
    save(tmp_path / "model", small_network(3, vocab_size=1024), TINY, shard_bytes=SHARD)
    return tmp_path / "model"


def test_shards_are_the_same_model(folder: Path, tmp_path: Path) -> None:
    """A checkpoint in shards loads to the tensors that were saved, and its digest covers every shard."""
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2 and shards[0].name == f"model-00001-of-{len(shards):05}.safetensors"
    save(tmp_path / "single", small_network(3, vocab_size=1024), TINY)
    one, many = load(tmp_path / "single"), load(folder)
    for left, right in zip(one.network.parameters(), many.network.parameters(), strict=True):
        assert torch.equal(left, right)
    assert many.weights_digest == digest(folder) != one.weights_digest
    tensors = load_file(shards[-1])
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, shards[-1])
    assert digest(folder) != many.weights_digest


def test_the_index_is_the_usual_one(folder: Path) -> None:
    """Every tensor is listed with its file and no shard but a single tensor's is above the size; the total is told."""
    index = json.loads((folder / INDEX).read_text())
    found = {name: path.name for path in folder.glob("model-*.safetensors") for name in load_file(path)}
    assert index["weight_map"] == found
    sizes = [sum(t.nbytes for t in load_file(path).values()) for path in folder.glob("model-*.safetensors")]
    assert index["metadata"]["total_size"] == sum(sizes)
    assert all(s <= SHARD or len(load_file(p)) == 1 for s, p in zip(sizes, folder.glob("model-*.safetensors"), strict=True))


@pytest.mark.parametrize("file", ["../model.safetensors", "/etc/passwd", "sub/x.safetensors", "model.bin", 7, ".safetensors"])
def test_an_index_leads_nowhere_else(folder: Path, file: object) -> None:
    """A file name that leaves the folder, or is none of ours, is refused."""
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["encoder.norm.weight"] = file
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="plain safetensors file"):
        load(folder)


@pytest.mark.parametrize("change", ["unlisted", "elsewhere", "twice"])
def test_index_and_shards_must_agree(folder: Path, change: str) -> None:
    """A tensor that the index does not list, or lists elsewhere, or that stands in two files, is named."""
    index = json.loads((folder / INDEX).read_text())
    name = "encoder.norm.weight"
    other = next(file for file in index["weight_map"].values() if file != index["weight_map"][name])
    if change == "unlisted":
        del index["weight_map"][name]
    elif change == "elsewhere":
        index["weight_map"][name] = other
    else:
        save_file(load_file(folder / other) | {name: torch.zeros(48)}, folder / other)
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=name):
        load(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    """A folder from which a shard was left out is incomplete, and says which."""
    path = sorted(folder.glob("model-*.safetensors"))[1]
    path.unlink()
    with pytest.raises(CheckpointError, match=path.name):
        load(folder)


def test_two_sets_of_weights_are_one_too_many(folder: Path) -> None:
    """A folder with a single file and an index leaves open which is meant."""
    save_file({"x": torch.zeros(1)}, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match="both"):
        load(folder)


def test_the_same_tensor_under_two_prefixes_is_refused(tmp_path: Path) -> None:
    """Two stored tensors that would become one weight are named."""
    save(tmp_path, small_network(3, vocab_size=1024), TINY)
    tensors = load_file(tmp_path / WEIGHTS)
    save_file(tensors | {"model.norm.weight": torch.zeros(48)}, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match="twice"):
        load(tmp_path)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """A crash while a file is being written leaves the file that was there, and the next writing succeeds."""
    file = tmp_path / "file"
    whole(file, lambda path: path.write_text("old"))

    def crash(path: Path) -> None:
        path.write_text("half of the ne")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        whole(file, crash)
    assert file.read_text() == "old"
    whole(file, lambda path: path.write_text("new"))
    assert file.read_text() == "new" and list(tmp_path.iterdir()) == [file]


def test_a_disk_that_is_full_is_told_in_one_line(tmp_path: Path) -> None:
    """Weights that the disk does not take are named with the reason; the old ones stay, and no half of the new ones."""
    save(tmp_path, small_network(3, vocab_size=1024), TINY)
    before, names = digest(tmp_path), sorted(tmp_path.rglob("*"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CheckpointError, match=rf"{WEIGHTS} cannot be written: .*large"):
            write(tmp_path / WEIGHTS, {"x": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert digest(tmp_path) == before and sorted(tmp_path.rglob("*")) == names


def test_weights_are_for_whom_other_files_are(tmp_path: Path) -> None:
    """A checkpoint can be served by another account than the one that trained it, if the settings beside its weights can."""
    save(tmp_path, small_network(3, vocab_size=1024), TINY)
    assert (tmp_path / WEIGHTS).stat().st_mode == (tmp_path / "tokenizer.json").stat().st_mode


SAVING = """
from pathlib import Path
import sys, time
from engine.train.saving import whole

def half(path):
    path.with_name(".tmpR4nD0m").write_text("half")  # as the library does, which puts it in its place at the end
    print("half", flush=True)
    time.sleep(600)

whole(Path(sys.argv[1]), half)
"""


def test_what_a_killed_writer_leaves_goes_at_the_next_writing(tmp_path: Path) -> None:
    """A process that is killed while it saves leaves nothing for good: the next save takes it away, whatever it is called."""
    file = tmp_path / WEIGHTS
    with subprocess.Popen([sys.executable, "-c", SAVING, str(file)], stdout=subprocess.PIPE) as saving:
        try:
            assert saving.stdout is not None and saving.stdout.readline() == b"half\n"
        finally:
            saving.kill()
    assert list(tmp_path.iterdir())
    write(file, {"x": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == [file]
