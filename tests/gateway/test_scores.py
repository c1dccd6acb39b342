"""What the events of an answer add to its text, with and without what its tokens weigh."""

from __future__ import annotations

import pytest

from engine.events import Output
from engine.request import Mode
from gateway.scores import Scorer, Unscored
from tests.engine.harness import MODES, asked, decoded, model, tokenizer


@pytest.mark.parametrize("mode", MODES)
def test_the_bytes_of_an_answer_are_the_same_with_and_without_scores(mode: Mode) -> None:
    """However the events are cut, both give the bytes of the output ids; one of them a score for each as well."""
    request = asked(mode, tokens=60)
    events = decoded(model(), request)
    output = [token for event in events if isinstance(event, Output) for token in event.output]
    wanted = tokenizer().decode_bytes(output)
    for size in (1, 3, len(events)):
        cuts = [events[place : place + size] for place in range(0, len(events), size)]
        scorer, unscored = Scorer(tokenizer().decode_bytes, len(request.prompt)), Unscored(tokenizer().decode_bytes)
        scored, plain = [scorer.said(cut) for cut in cuts], [unscored.said(cut) for cut in cuts]
        assert b"".join(said.data for said in scored) == b"".join(said.data for said in plain) == wanted
        assert not any(said.scores for said in plain)
        scores = [score for said in scored for score in said.scores]
        assert len(scores) == len(output) and b"".join(score.data for score in scores) == wanted
