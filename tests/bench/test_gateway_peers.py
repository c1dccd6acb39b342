"""The laws of the side by side: both gateways have the same answer to give, and the ratios are what they say."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from engine.events import Event, Finished, Output
from engine.model.checkpoint import LoadedModel, load
from engine.request import Mode
from gateway.bench.http_load import Load
from tests.bench.direct import direct
from tests.bench.gateway_peers import OURS, THEIRS, Ask, Contest, compared, configured
from tests.bench.recorded import Recording, Replay
from tests.bench.replaying import MODES, recordings, wanted
from tests.bench.upstream import Answer, Upstream
from tests.engine.small import TINY


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    """The shipped checkpoint."""
    return load(TINY)


@pytest.fixture(scope="module")
def recorded(model: LoadedModel) -> dict[Mode, Recording]:
    """What everybody is to tell."""
    return recordings(model)


def output(events: list[Event]) -> list[int]:
    """The ids of an answer."""
    return [token for event in events if isinstance(event, Output) for token in event.output]


def test_the_stand_in_tells_what_was_recorded(model: LoadedModel, recorded: dict[Mode, Recording]) -> None:
    """Each of several requests, begun at different times, gets every event recorded of its mode, in its steps, as its own."""
    replay, told = Replay(recorded), dict[Any, list[Event]]()
    requests = [wanted(model, mode) for mode in (*MODES, *MODES)]
    while len([events for events in told.values() if isinstance(events[-1], Finished)]) < len(requests):
        for request in requests[len(told) : len(told) + 1]:
            replay.submit(request)
            told[request.id] = []
        for event in replay.step():
            told[event.generation].append(event)
    for request in requests:
        whole = [event for step in recorded[request.mode].steps for event in step]
        assert [type(event) for event in told[request.id]] == [type(event) for event in whole]
        assert output(told[request.id]) == output(whole) != []
    assert replay.step() == []


async def test_the_upstream_tells_the_same_answer(model: LoadedModel, recorded: dict[Mode, Recording]) -> None:
    """The official client reads the recorded text from it, whole or as a stream with a chunk for each event."""
    app: Any = Upstream({mode.value: Answer.of(**each.told(model)) for mode, each in recorded.items()})
    transport = httpx.ASGITransport(app)
    given: Any = httpx.AsyncClient(transport=transport)
    async with openai.AsyncOpenAI(base_url="http://stub/v1", api_key="k", http_client=given) as client:
        for mode, each in recorded.items():
            asked: Any = {"model": mode.value, "messages": [{"role": "user", "content": "x"}]}
            text = model.tokenizer.decode(output([event for step in each.steps for event in step][:-1])).removesuffix(
                "<|im_end|>"
            )
            whole = await client.chat.completions.create(**asked)
            chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
            assert whole.choices[0].message.content == text == "".join(c.choices[0].delta.content or "" for c in chunks)
            assert len(chunks) == len(each.pieces(model)) + 2 and chunks[-1].choices[0].finish_reason == "stop"
            assert whole.usage is not None and whole.usage.completion_tokens == each.finished.tokens


def test_direct_answers_come_from_the_engine_alone(model: LoadedModel, recorded: dict[Mode, Recording]) -> None:
    """So many are asked for, never more at a time than allowed, and each has its latency."""
    most = 0

    class Watching(Replay):
        """Notes how many run."""

        def step(self) -> list[Event]:
            """As the stand-in."""
            nonlocal most
            most = max(most, len(self._running))
            return super().step()

    load = direct(Watching(recorded), lambda: wanted(model, Mode.LINEAR_SPEC))(7, 3)
    assert most == 3 and len(load.latencies) == 7 and all(0 < latency <= load.seconds for latency in load.latencies)


def loads(*latencies: float) -> Load:
    """A run of these latencies, one after the other."""
    return Load(sum(latencies), latencies)


def always(load: Load) -> Ask:
    """Whoever is asked takes that long."""
    return lambda count, concurrency: load


def test_ratios() -> None:
    """What is added is the median over what stands behind, and a ratio is LiteLLM's figure over ours, or our rate over its."""
    entered = [
        Contest(peer, Mode.AR, True, 16, always(through), always(behind), 1.0)
        for peer, through, behind in (
            (OURS, loads(0.003, 0.004, 0.005), loads(0.001, 0.002, 0.003)),
            (THEIRS, loads(0.02, 0.03, 0.04), loads(0.01, 0.01, 0.01)),
        )
    ]
    for contest in entered:
        contest.run(3)
    ours, theirs = entered
    assert ours.added == pytest.approx(0.002) and theirs.added == pytest.approx(0.02)
    (line,) = compared(entered)
    assert (line["added_ratio"], line["rate_ratio"]) == (10, 7.5)
    assert ours.row()["requests_per_second"] == 250 and ours.row()["behind_ms_p50"] == 2


def test_litellm_is_configured_for_speed() -> None:
    """One upstream for each answer, and nothing that would cost it time: no database, no callbacks, no telemetry."""
    made = configured("http://127.0.0.1:1/v1", ["m:ar", "m:linear_spec"])
    assert [each["litellm_params"]["model"] for each in made["model_list"]] == ["openai/m:ar", "openai/m:linear_spec"]
    assert made["general_settings"].keys() == {"master_key"} and made["litellm_settings"] == {"telemetry": False}
