"""Laws of the verifier over the files of a bundle: whatever the bytes of one of them, never green and never a crash."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import bundle
from audit.export import disclose_nothing
from audit.verify import Report, Verdict, verify
from tests.audit.samples import ORIGIN, small_log

FILES = (bundle.MANIFEST, *bundle.DATA_FILES)


class Bundle:
    """A verified bundle, in which one file at a time is another."""

    def __init__(self, folder: Path, vkey: str) -> None:
        self._folder, self._vkey = folder, vkey
        self.files = {name: (folder / name).read_bytes() for name in FILES}

    def judged(self) -> Report:
        """What the verifier says of it as it stands."""
        return verify(self._folder, [self._vkey], ORIGIN)

    @contextmanager
    def changed(self, name: str, content: bytes | None) -> Iterator[None]:
        """With these bytes in that file, or without it; as it was afterwards."""
        path = self._folder / name
        try:
            path.unlink()
            if content is not None:
                path.write_bytes(content)
            yield
        finally:
            path.write_bytes(self.files[name])


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    """A bundle that is verified before and after the tests change single files of it."""
    folder = tmp_path_factory.mktemp("honest")
    log = small_log(folder / "keys")
    log.export(folder / "out")
    made = Bundle(folder / "out", log.signer.vkey)
    assert made.judged().verdict is Verdict.VERIFIED
    yield made
    assert made.judged().verdict is Verdict.VERIFIED


@settings(max_examples=250)
@given(data=st.data())
def test_no_changed_byte_is_ever_verified(honest: Bundle, data: st.DataObject) -> None:
    """Flipping, dropping or adding one byte in any file of a bundle is never answered with exit 0."""
    name = data.draw(st.sampled_from(FILES))
    raw = bytearray(honest.files[name])
    at = data.draw(st.integers(0, len(raw) - 1))
    match data.draw(st.sampled_from(["flip", "drop", "add"])):
        case "flip":
            raw[at] ^= 1 << data.draw(st.integers(0, 7))
        case "drop":
            del raw[at]
        case _:
            raw.insert(at, data.draw(st.integers(0, 255)))
    if bytes(raw) != honest.files[name]:
        with honest.changed(name, bytes(raw)):
            assert honest.judged().verdict is not Verdict.VERIFIED


@pytest.mark.parametrize("name", FILES)
def test_a_bundle_without_one_of_its_files_is_malformed(honest: Bundle, name: str) -> None:
    """A missing or empty file is never a verified bundle."""
    with honest.changed(name, b""):
        assert honest.judged().verdict is not Verdict.VERIFIED
    with honest.changed(name, None):
        assert honest.judged().verdict is Verdict.MALFORMED


@settings(max_examples=60)
@given(name=st.sampled_from(FILES), content=st.binary(max_size=300) | st.text(max_size=80).map(str.encode))
def test_garbage_never_crashes_the_verifier(honest: Bundle, name: str, content: bytes) -> None:
    """Any bytes in any file give a verdict other than verified, and no other exception."""
    with honest.changed(name, content):
        assert honest.judged().verdict is not Verdict.VERIFIED


def test_a_manifest_counts_in_numbers(tmp_path: Path) -> None:
    """A count of the manifest that is true or false, which Python takes for 1 and 0, is malformed."""
    log = small_log(tmp_path / "keys")
    log.export(tmp_path / "out", disclose_nothing)
    path = tmp_path / "out" / bundle.MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"bytes":0,"lines":0', b'"bytes":false,"lines":false'))
    assert verify(tmp_path / "out", [log.signer.vkey], ORIGIN).verdict is Verdict.MALFORMED
