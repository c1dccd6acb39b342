"""A response told again from its records: the same events with the same numbers, the same document, the same items."""

from __future__ import annotations

import msgspec

from engine.model.checkpoint import LoadedModel
from gateway.calls import AnswerReader, parts_of
from gateway.dialects.reading import answer_reader
from gateway.dialects.responses.decode import prompt_of, recorded
from gateway.dialects.responses.document import Head
from gateway.dialects.responses.narrator import Narrator, Told
from gateway.dialects.responses.turns import items_of
from gateway.dialects.responses.wire import Item
from gateway.errors import EngineDown, Withheld
from gateway.recall import Ending, Recalled


def head_of(recalled: Recalled) -> Head:
    """What the response repeats."""
    account, body = recalled.account, recorded(recalled.asked)
    constrained = bool(recalled.opening.constraint_kind)
    prompt = prompt_of(body, constrained=constrained)
    return Head(account.generation, account.mode, account.policy_digest, body, constrained, prompt)


def reader_for(model: LoadedModel, head: Head) -> AnswerReader:
    """Reads the answer's text, however often, into the same parts with the same ids."""
    return answer_reader(model, head.prompt, f"call_{head.generation.hex}_", constrained=head.constrained)


def retold(model: LoadedModel, narrator: Narrator, recalled: Recalled) -> list[Told]:
    """All events of a response that has ended."""
    told = narrator.opening()
    for part in parts_of(reader_for(model, narrator.head), recalled.text, recalled.scores):
        told += narrator.tell(part)
    match recalled.ending:
        case Ending.ANSWERED:
            return told + narrator.closing(recalled.account)
        case Ending.CUT:
            return told + narrator.cancelling()
        case Ending.WITHHELD:
            return told + narrator.failing(Withheld("the policy did not let this answer go; its records say why"))
        case _:
            return told + narrator.failing(EngineDown("the generation ended early; try again"))


def output(model: LoadedModel, head: Head, recalled: Recalled) -> list[Item]:
    """The items of its answer, as far as it was released."""
    narrator = Narrator(head)
    retold(model, narrator, recalled)
    return msgspec.convert(narrator.response["output"], list[Item])


def conversation(model: LoadedModel, head: Head, recalled: Recalled) -> list[Item]:
    """What a response that goes on from this one begins with: its input, then its output."""
    return [*items_of(head.body.input), *output(model, head, recalled)]
