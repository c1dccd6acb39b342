"""The tiny checkpoint's vocabulary: a byte-level BPE of 1024 ids trained on the whole corpus.

Promise: ids 0-127 are reserved like the family's, 128-383 are the 256 bytes, the rest are merges; the same
corpus gives the same files. The folder can be read by `engine.tokenizer.Tokenizer` and by
`PreTrainedTokenizerFast`.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from engine.config import CheckpointError
from engine.train.corpus import WHOLE, drawn
from engine.train.grammar import Split
from engine.train.saving import whole
from engine.train.tasks import chat, words

SIZE: Final = 1024
RESERVED: Final = 128
TASKS: Final = 4000
EMPHASIS: Final = 0.5
"""How often the common words of the tasks are said over, per task: each is then one id, wherever it stands."""
NAMED: Final = {
    0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 10: "<|im_start|>", 11: "<|im_end|>",
    12: "<think>", 13: "</think>", 14: "<tool_call>", 15: "</tool_call>", 16: "<tool_response>",
    17: "</tool_response>",
}  # fmt: skip
# A line break keeps its indent or its tag, digits stand alone, and a word is the same ids whatever stands before it: most of
# what is answered is copied, from behind a space to behind a quote, a tag or an underscore. A capital begins a word, so that
# `sendTicket` is made of the words of the request as `send_ticket` is.
PIECES: Final = r"\n?</?[a-z_]+>|\n+ *|\p{Lu}?\p{Ll}+|\p{Lu}+(?!\p{Ll})|\p{L}+|\p{N}| ?[^\s\p{L}\p{N}_]+|_|\s+"

CHAT_TEMPLATE: Final = Path(chat.__file__).with_name("chat_template.jinja")


def reserved() -> list[str]:
    """The strings of ids 0-127, in order; id 100, the mask, is `<SPECIAL_100>`."""
    return [NAMED.get(rank, f"<SPECIAL_{rank}>") for rank in range(RESERVED)]


def train(tasks: int, size: int = SIZE) -> Tokenizer:
    """Train on the first `tasks` training examples. Raises CheckpointError when they give fewer than `size` ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=reserved(),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(tasks), trainer)
    if tokenizer.get_vocab_size() != size:
        raise CheckpointError(f"{tasks} tasks give only {tokenizer.get_vocab_size()} ids: train on more tasks")
    return tokenizer


def build(folder: Path, tasks: int = TASKS) -> None:
    """Train and write in one go. Raises CheckpointError like `train`."""
    write(train(tasks), folder)


def write(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja`; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    whole(folder / "tokenizer.json", lambda path: path.write_text(tokenizer.to_str(pretty=True), encoding="utf-8"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": NAMED[1],
        "eos_token": NAMED[11],
        "unk_token": NAMED[0],
        "mask_token": "<SPECIAL_100>",
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    (folder / "chat_template.jinja").write_bytes(CHAT_TEMPLATE.read_bytes())


def _texts(tasks: int) -> Iterator[str]:
    """The common words, and what lies between the marks of whole conversations."""
    said = (*(verb for group in (*words.VERBS, *words.READS) for verb in group), *words.NOUNS)
    yield from [" ".join(said)] * int(EMPHASIS * tasks)
    for seed in range(tasks):
        made = drawn(seed, Split.TRAIN, WHOLE)
        pieces = (*chat.prompt(made.chat), *chat.spoken(made.answer))
        for marks, group in groupby(pieces, lambda piece: isinstance(piece, chat.Mark)):
            if not marks:
                yield "".join(group)
