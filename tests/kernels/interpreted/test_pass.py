"""The kernels together are the network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engine import numeric
from engine.chain import Link
from engine.device import DevicePass, OnDevice
from engine.graphs import Recorder
from engine.library import run
from engine.model.weights import Weights
from engine.numeric import STRICT, numeric_fingerprint
from engine.plan import Lora, clean, noisy, quadratic
from engine.request import Numeric
from engine.sampling import Ask
from tests.engine.passes import repeated
from tests.engine.small import small_network
from tests.engine.test_plan import packed


@pytest.mark.parametrize("recorder", [None, lambda _: repeated], ids=["exact", "recorded"])
def test_the_kernels_together_are_the_network(recorder: Callable[[torch.device], Recorder] | None) -> None:
    """Mixed steps by kernels alone, with room to spare or none, pick what the strict pass picks, and leave its pages."""
    # One layer of the network is all of its arithmetic, and the interpreter is slow.
    network = small_network(layers=1)
    steps = [(70, clean((5, 9, 33))), (40, noisy((3, 100, 100, 100), Lora.ON)), (9, quadratic((4, 8), 100, Lora.ON))]
    plan, pool, _ = packed(steps)
    _, other, _ = packed(steps)
    torch.testing.assert_close(pool.kv, other.kv, rtol=0, atol=0)
    logprobs = run(Weights(network, torch.float32), STRICT, plan, other).log_softmax(-1)
    device = DevicePass(network, OnDevice(Numeric.STRICT, torch.device("cpu"), torch.float32, recorder))
    ((found,),) = device([Link(plan, (), [Ask(len(plan.wanted), 0.0, 0, others=True)])], pool)
    torch.testing.assert_close(pool.kv, other.kv, rtol=1e-3, atol=1e-3)
    last = torch.tensor([found.last_logprob(token) for token in range(logprobs.shape[1])])
    torch.testing.assert_close(last, logprobs[-1], rtol=1e-3, atol=1e-3)
    logprobs[:, network.config.mask_token_id] = -torch.inf
    assert found.ids == logprobs.argmax(-1).tolist()
    torch.testing.assert_close(torch.tensor(found.logprob), logprobs.amax(-1), rtol=1e-3, atol=1e-3)


def test_a_fingerprint_names_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was computed in the interpreter is not taken for what the library computes."""
    here = numeric_fingerprint(STRICT, "torch")
    monkeypatch.setattr(numeric, "INTERPRETED", False)
    assert numeric_fingerprint(STRICT, "torch") != here
