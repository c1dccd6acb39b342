"""Laws of building: a machine that cannot compile still serves, and nobody else's code is ever loaded."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from kernels.cpu import build
from kernels.cpu.build import HALF, SINGLE, SPANS, Source


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "palimpsest"


def test_without_a_compiler_there_is_a_warning_and_no_library(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No compiler on the path: None, one sentence that says what to install, and nothing on the disk."""
    monkeypatch.setenv("PATH", str(cache))
    with caplog.at_level(logging.WARNING):
        assert build.library.__wrapped__(SPANS) is None
    assert "several times slower" in caplog.text and not cache.exists()


def test_without_a_home_there_is_a_warning_and_no_library(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A user whom the system does not know and who names no folder has none for libraries, and is still served."""

    def unknown(user: int) -> NoReturn:
        raise KeyError(user)

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with caplog.at_level(logging.WARNING):
        assert build.library.__wrapped__(SPANS) is None
    assert "home directory" in caplog.text


def test_a_library_is_built_once(cache: Path) -> None:
    """The second process finds what the first has built, byte for byte; where nothing can be built there is no file."""
    script = "from kernels.cpu.build import SPANS, library; found = library(SPANS); print(found and found.digest)"
    told = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ).stdout
        for _ in range(2)
    ]
    files = sorted(cache.glob("*")) if cache.exists() else []
    assert told[0] == told[1] and len(files) == (told[0].strip() != "None")
    assert all(file.suffix == ".so" for file in files)


def test_a_folder_that_others_may_write_is_refused(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Code is loaded only from a folder that nobody else can put a file into."""
    cache.mkdir()
    cache.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        assert build.library.__wrapped__(SPANS) is None
    assert not list(cache.glob("*"))


def test_a_failed_compilation_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    """An error of the compiler is told with its last words, and no half-made library stays."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 3\n")
    broken.chmod(0o755)
    cache.mkdir()
    with pytest.raises(OSError, match="ended with 3: no such luck"):
        build._compile([str(broken)], cache / "x.so")
    assert not list(cache.glob("*"))


def test_a_processor_without_the_instructions_is_told(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is compiled for instructions that the processor lacks; the warning names them."""
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True, "fma3": True, "avx512_f": True})
    with caplog.at_level(logging.WARNING):
        assert build.library.__wrapped__(HALF) is None
    assert "AVX-512 with bfloat16" in caplog.text and not cache.exists()
    assert all((source.flags() or ())[-2:] == ("-mfma", "-mavx2") for source in (SINGLE, SPANS))


@pytest.mark.long
@pytest.mark.parametrize("source", [HALF, SINGLE, SPANS], ids=["half", "single", "spans"])
def test_the_sources_compile_without_a_warning(source: Source, tmp_path: Path) -> None:
    """All warnings on, none given, for every set of instructions; the compiler's own headers are not ours to judge."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        assert build.library(source) is None
        return
    warnings = ("-Wall", "-Wextra", "-Wno-uninitialized", "-Wno-maybe-uninitialized")
    files = (str(build.SOURCES / source.file), "-o", str(tmp_path / "x.so"))
    for names in source.sets:
        command = [compiler, *build._COMMON, source.threads, *(f"-m{name}" for name in names), *warnings, *files]
        assert not subprocess.run(command, capture_output=True, text=True, check=True).stderr
