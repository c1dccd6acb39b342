"""Every kernel is compiled for GPUs that nobody here has."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from kernels import accept, head, linear, lora, noise, norm, paged, rotary, swiglu
from kernels.ahead import CAPABILITIES, Specimen, compiled, specimens
from kernels.jit import Build

REGISTERS_MOST, REGISTERS_OF_ALL = 255, 1 << 16
SHARED_MOST = {80: 163 << 10, 90: 227 << 10, 100: 227 << 10}
"""What one program may have: registers a thread, registers of all its threads, shared bytes by compute capability."""


@pytest.mark.parametrize("specimen", specimens(), ids=lambda specimen: specimen.name)
def test_every_kernel_compiles_and_fits(specimen: Specimen) -> None:
    """At the 8B model's shapes each kernel becomes machine code that fits the processor, and none spills a register."""
    for capability in CAPABILITIES:
        found = compiled(specimen, capability)
        assert (found.name, found.stack_bytes) == (specimen.name, 0)
        assert 0 < found.registers <= REGISTERS_MOST and found.registers * 32 * found.warps <= REGISTERS_OF_ALL
        assert found.shared_bytes <= SHARED_MOST[capability]


def test_no_kernel_is_left_out() -> None:
    """Every kernel that some file launches is among the specimens, with a type for each of its run-time arguments."""
    found = {id(specimen.build.kernel) for specimen in specimens()}
    for file in (accept, head, linear, lora, noise, norm, paged, rotary, swiglu):
        source = inspect.getsource(file)
        kernels = [value for name, value in vars(file).items() if f"Build({name}, " in source]
        assert kernels and {id(kernel) for kernel in kernels} <= found
    for specimen in specimens():
        assert len(specimen.types) + len(specimen.build.constants) == len(specimen.build.kernel.arg_names)


def test_the_constants_name_what_the_kernel_takes() -> None:
    """A build's constants are the kernel's last parameters, so that positions of run-time arguments cannot slip."""
    for specimen in specimens():
        build: Build = specimen.build
        assert set(build.kernel.arg_names[len(specimen.types) :]) == set(build.constants)


def test_the_engine_needs_no_triton() -> None:
    """Where Triton does not exist the engine imports, and the doors give the definitions."""
    program = (
        "import sys; sys.modules['triton'] = None; import engine.engine, torch; from kernels import swiglu, ahead;"
        "x = torch.ones(1, 4); assert torch.equal(swiglu.silu_mul(x), swiglu.silu_mul_reference(x));"
        "ahead.compiled(ahead.specimens()[0], 90)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "CompilerMissing: kernels are compiled by Triton" in done.stderr
