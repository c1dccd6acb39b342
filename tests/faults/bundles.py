"""Whole export bundles for the fuzzer: five files in one input, verified with the newest checkpoint held from elsewhere."""

from __future__ import annotations

from pathlib import Path

from audit import bundle
from audit.bundle import Manifest, Measured
from audit.verify import Verdict, verify
from tests.audit.samples import ORIGIN, TENANT, small_log
from tests.faults.parsers import Parser

FILES = (*bundle.DATA_FILES, bundle.MANIFEST)
AS_GIVEN, RESEALED = b"=", b"~"
"""The first byte of an input: whether its manifest stands as it is or is made anew, as an attacker would, to fit the files."""


class Refusal(Exception):
    """The verifier did not say VERIFIED."""


def bundle_parser(folder: Path) -> Parser:
    """A bundle: VERIFIED only if no byte differs, or, with a new manifest, if no byte of a record does."""
    log = small_log(folder / "log")
    log.export(folder / "bundle")
    whole = {name: (folder / "bundle" / name).read_bytes() for name in FILES}
    judged = folder / "judged"
    judged.mkdir()

    def read(data: bytes) -> None:
        files = dict(zip(FILES, data[1:].split(b"\0"), strict=False))
        resealed = data[:1] == RESEALED
        if resealed:
            files[bundle.MANIFEST] = _manifest(files)
        for name in FILES:
            judged.joinpath(name).write_bytes(files.get(name, b""))
        report = verify(judged, [log.signer.vkey], ORIGIN, log.notes[-1:])
        if report.verdict is not Verdict.VERIFIED:
            raise Refusal("; ".join(str(finding) for finding in report.findings[:2]))
        for name in (bundle.RECORDS,) if resealed else FILES:
            assert files[name] == whole[name], f"VERIFIED although {name} was changed"

    packed = b"\0".join(whole.values())
    return Parser("bundle", (AS_GIVEN + packed, RESEALED + packed), read, (Refusal,))


def _manifest(files: dict[str, bytes]) -> bytes:
    """A manifest that is right about these files."""
    entries = {}
    for name in bundle.DATA_FILES:
        measured = Measured()
        for line in files.get(name, b"").splitlines(keepends=True):
            measured.feed(line)
        entries[name] = measured.entry()
    records = entries[bundle.RECORDS]["lines"]
    assert isinstance(records, int)
    return Manifest(TENANT, ORIGIN, records, entries).encode()
