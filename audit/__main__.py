"""`python -m audit`: the offline verifier of bundles and of single proofs, and the witness; see `--help`."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # A verifier writes nothing: Ctrl-C ends it here, without a traceback, and also while the rest is being loaded.
    signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))

USAGE, INTERNAL = 64, 70

try:
    from audit.errors import AuditError, MalformedData, NoteInvalid, ProofInvalid
    from audit.header import MAX_HEADER_BYTES
    from audit.note import Scheme, check_name, decode_vkey
    from audit.proof import MAX_PROOF_BYTES, Proven, check_proof
    from audit.quorum import Quorum
    from audit.verify import Report, Verdict, verify
    from audit.witness import Witness
    from audit.witness_server import WitnessServer
except Exception as error:  # a Python that cannot load this must not end it with the status of a verdict
    if __name__ != "__main__":
        raise
    print(f"nothing was verified: {error}; it takes Python 3.11 or later with cryptography 48 and cbor2 6", file=sys.stderr)
    sys.exit(INTERNAL)

MAX_CHECKPOINT_FILE = 65_536
MAX_KEYS_FILE = 1_048_576
EPILOG = """\
exit status:
  0 verified   1 tampered   2 malformed   3 valid but incomplete   64 usage   70 internal fault

examples:
  python -m audit verify bundle --origin palimpsest.local/demo --vkey 'palimpsest.local/demo+1a2b3c4d+AQ...'
  python -m audit verify bundle --origin palimpsest.local/demo --vkey @demo.vkeys --checkpoint kept.txt
  python -m audit verify bundle --origin palimpsest.local/demo --vkey @demo.vkeys --require-witness @witnesses.vkeys --quorum 2

Take the key and the origin from the log's operator by another way than the bundle. A checkpoint that you kept
is the only thing that shows a log whose newest records were cut off; a witness is what shows that all readers of a
log were given the same one.
"""
CHECK_EPILOG = """\
exit status:
  0 verified   1 tampered   2 malformed   64 usage   70 internal fault

example:
  curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8017/api/generations/ID/proof > proof.json
  jq -j '.records[0].header' proof.json | base64 -d > header
  jq -j '.records[0].proof' proof.json > record.tlog-proof
  python -m audit check record.tlog-proof --header header --origin palimpsest.local/acme --vkey @acme.vkeys

The bytes for --header are `header` beside each proof, out of base64: there, in the answer to a request with
`"palimpsest": {"proof": true}`, and on each line of `records.jsonl` in an export. Take key and origin from the log's
operator (`palimpsest audit keys`) by another way than the proof.
"""
WITNESS_EPILOG = """\
example:
  python -m audit witness --folder state --name witness.example/w1 --log 'palimpsest.local/acme+1a2b3c4d+AQ...'

Run it where the log's operators cannot write. It speaks plain HTTP: put it on a private network or behind a TLS proxy.
What it prints at the start are its keys; whoever requires its signature needs one of them. Its URL and those keys are what
PALIMPSEST_WITNESSES names, so that a gateway asks it. The folder holds its keys and what it has seen: back it up, and never
let it go back in time.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m audit", description="Verify an audit log offline, or witness one.")
    commands = parser.add_subparsers(dest="command", required=True)
    form = argparse.RawDescriptionHelpFormatter
    about = "Verify an export bundle offline and say what was not checked."
    _add_verify(commands.add_parser(
        "verify", help="verify an export bundle", description=about, epilog=EPILOG, formatter_class=form,
    ))  # fmt: skip
    about = "Check a .tlog-proof against its record's header."
    _add_check(commands.add_parser(
        "check", help="check the proof of one record", description=about, epilog=CHECK_EPILOG, formatter_class=form,
    ))  # fmt: skip
    about = "Serve C2SP tlog-witness until interrupted."
    _add_witness(commands.add_parser(
        "witness", help="cosign the checkpoints of logs", description=about, epilog=WITNESS_EPILOG, formatter_class=form,
    ))  # fmt: skip
    return parser


def _add_verify(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", metavar="DIR", type=Path, help="the bundle folder")
    _add_log(command)
    command.add_argument(
        "--checkpoint", action="append", default=[], type=Path, metavar="FILE",
        help="a checkpoint of this log that you kept; may be repeated",
    )  # fmt: skip
    command.add_argument(
        "--anchor", action="append", default=[], metavar="KEY",
        help="a key of the log of checkpoints, or @FILE with one a line; repeatable: hold what that log says against this one",
    )  # fmt: skip
    command.set_defaults(run=_verify)


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument("proof", metavar="PROOF", type=Path, help="the proof, a file .tlog-proof")
    command.add_argument("--header", required=True, type=Path, metavar="FILE", help="the record's header, as raw bytes")
    _add_log(command)
    command.set_defaults(run=_check)


def _add_witness(command: argparse.ArgumentParser) -> None:
    command.add_argument("--folder", required=True, type=Path, metavar="DIR", help="keys and state, kept here")
    command.add_argument("--name", required=True, help="the witness's name, such as witness.example/w1")
    command.add_argument("--log", action="append", required=True, metavar="VKEY", help="a log's key; repeatable")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on; default %(default)s")
    command.add_argument("--port", type=int, default=7380, help="port to listen on, 0 for any; default %(default)s")
    command.set_defaults(run=_witness)


def _add_witnesses(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--require-witness", "--witness", dest="witness", action="append", default=[], metavar="KEY",
        help="a witness's verifier key, or @FILE with one a line; repeatable",
    )  # fmt: skip
    command.add_argument("--quorum", type=int, metavar="K", help="witnesses that must have signed; default all given")


_LOG_SCHEMES = {scheme.label: scheme for scheme in (Scheme.ED25519, Scheme.ML_DSA_44)}


def _add_log(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--vkey", action="append", required=True, metavar="KEY",
        help="verifier key name+hash+key, or @FILE with one a line; repeatable",
    )  # fmt: skip
    command.add_argument("--origin", required=True, metavar="NAME", help="the log's name, such as example.org/tenant")
    command.add_argument(
        "--require", action="append", default=[], choices=_LOG_SCHEMES,
        help="a signature that the newest checkpoint must bear under a given key; repeatable, for both",
    )  # fmt: skip
    _add_witnesses(command)


def render(report: Report) -> str:
    """The report as text for a person."""
    lines = [
        f"{report.verdict.name}  log {report.origin}",
        f"  records {report.records}, under checkpoints {report.covered}, checkpoints {report.checkpoints}",
        *([] if report.anchored is None else [f"  records that the log of checkpoints bears out {report.anchored}"]),
        *([] if report.witnessed is None else [f"  records that the witnesses have seen {report.witnessed}"]),
        f"  root {report.root.hex() or '(not computed)'}",
        f"  bodies decrypted {report.decrypted}",
        "  requests " + ", ".join(f"{ending} {count}" for ending, count in report.requests.items()),
    ]
    lines += [f"  {finding}" for finding in report.findings]
    if report.suppressed:
        lines.append(f"  and {report.suppressed} further findings")
    lines += [
        "not checked:",
        *(f"  {item}" for item in report.unchecked or ["everything after the first failure"]),
    ]
    return "\n".join(map(_visible, lines))


def _visible(line: str) -> str:
    """A line that moves no cursor and turns no text, whatever a bundle puts into it."""
    return "".join(char if char.isprintable() else "\ufffd" for char in line)


def _show(text: str) -> None:
    """Print text also where the terminal lacks its characters: no name in a bundle or proof may cost a verdict."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _complain(text: str) -> None:
    """Say what went wrong, if that can be said: what fails here would end with 1, and that is a verdict."""
    try:
        print(text, file=sys.stderr)
    except OSError:
        sys.stderr = io.StringIO()  # Python would try again at its end, and then the status is 120


def render_proof(proven: Proven) -> str:
    """What a proof has shown, as text for a person."""
    header, tree = proven.header, proven.checkpoint
    seen = [f"  seen by {signature.key.name} at {signature.seconds} (POSIX time)" for signature in proven.witnesses]
    return "\n".join((
        f"VERIFIED  record {header.seq} of log {tree.origin}",
        f"  id {header.record}, kind {header.kind}, recorded at {header.ts} (microseconds)",
        f"  under a signed tree of {tree.size} records, root {tree.root.hex()}",
        *(seen or ["  seen by no witness that was asked for"]),
        "not checked:",
        "  the record's body, and all other records",
    ))  # fmt: skip


def _read(path: Path, limit: int) -> bytes:
    """At most one byte more than a form permits, so that too long a file is refused by whoever parses it."""
    with path.open("rb") as file:
        return file.read(limit + 1)


def _vkeys(given: Sequence[str]) -> list[str]:
    """The keys as they are given, those of an @FILE in its place. Raises NoteInvalid for a file without any."""
    found: list[str] = []
    for text in given:
        lines = [text]
        if text.startswith("@"):
            lines = _read(Path(text[1:]), MAX_KEYS_FILE).decode("utf-8").split()
            if not lines:
                raise NoteInvalid(f"{text[1:]} holds no verifier key: it should have one a line")
        found += lines
    return found


def _required(parsed: argparse.Namespace) -> tuple[Scheme, ...]:
    return tuple(_LOG_SCHEMES[label] for label in parsed.require)


def _witnesses(parsed: argparse.Namespace) -> Quorum | None:
    """The witnesses that are demanded, all of the given ones unless a number is said."""
    keys = tuple(decode_vkey(text) for text in _vkeys(parsed.witness))
    required = len({key.name for key in keys}) if parsed.quorum is None else parsed.quorum
    return Quorum(required, keys) if keys or parsed.quorum is not None else None


def _verify(parsed: argparse.Namespace) -> int:
    if not parsed.folder.is_dir():
        _complain(f"{parsed.folder} is not a folder; name the folder that the export wrote")
        return USAGE
    check_name(parsed.origin)
    held = [_read(path, MAX_CHECKPOINT_FILE).decode("utf-8") for path in parsed.checkpoint]
    witnesses, anchors = _witnesses(parsed), _vkeys(parsed.anchor)
    report = verify(parsed.folder, _vkeys(parsed.vkey), parsed.origin, held, _required(parsed), witnesses, anchors)
    _show(render(report))
    return int(report.verdict)


def _check(parsed: argparse.Namespace) -> int:
    check_name(parsed.origin)
    keys = [decode_vkey(text) for text in _vkeys(parsed.vkey)]
    witnesses, required = _witnesses(parsed), _required(parsed)
    if witnesses is not None:
        witnesses.require_others(keys)  # else the caller's mistake would read as a verdict
    text, header = _read(parsed.proof, MAX_PROOF_BYTES), _read(parsed.header, MAX_HEADER_BYTES)
    try:
        _show(render_proof(check_proof(text.decode("utf-8"), header, keys, parsed.origin, witnesses, required)))
    except (NoteInvalid, ProofInvalid) as error:
        _show(f"TAMPERED: {error}")
        return int(Verdict.TAMPERED)
    except (MalformedData, UnicodeDecodeError) as error:
        _show(f"MALFORMED: {error}")
        return int(Verdict.MALFORMED)
    return int(Verdict.VERIFIED)


def _witness(parsed: argparse.Namespace) -> int:
    witness = Witness(parsed.folder, parsed.name, [decode_vkey(text) for text in parsed.log])
    for number in (signal.SIGINT, signal.SIGTERM):  # set here, for a shell starts what runs behind it deaf to SIGINT
        signal.signal(number, signal.default_int_handler)
    with WitnessServer((parsed.host, parsed.port), witness) as server:
        print(*witness.vkeys, f"listening on {parsed.host} port {server.server_port}", sep="\n", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        status = _run(arguments)
        print(end="", flush=True)
    except OSError as error:  # of what cannot be written Python makes status 1, which would be a verdict, or 120
        _complain(f"what was found cannot be told: {error}")
        os._exit(INTERNAL)
    return status


def _run(arguments: Sequence[str] | None) -> int:
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except (AuditError, OSError, UnicodeDecodeError, OverflowError) as error:
        _complain(f"cannot {parsed.command}: {error}")
        return USAGE
    except Exception as error:  # noqa: BLE001 - whatever broke, the exit status must not read as a verdict
        _complain(f"internal fault, nothing was verified: {type(error).__name__}: {error}")
        return INTERNAL


if __name__ == "__main__":
    sys.exit(main())
