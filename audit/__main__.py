"""`python -m audit verify`: the offline verifier as a command; see `--help`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from audit.errors import AuditError
from audit.verify import Report, verify

USAGE, INTERNAL = 64, 70
MAX_CHECKPOINT_FILE = 65_536
EPILOG = """\
exit status:
  0 verified   1 tampered   2 malformed   3 valid but incomplete   64 usage   70 internal fault

examples:
  python -m audit verify bundle --origin palimpsest.local/demo --vkey 'palimpsest.local/demo+1a2b3c4d+AQ...'
  python -m audit verify bundle --origin palimpsest.local/demo --vkey "$(cat demo.vkey)" --checkpoint kept.txt

Take the key and the origin from the log's operator by another way than the bundle. A checkpoint that you kept
is the only thing that shows a log whose newest records were cut off.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m audit", description="Verify exports of an audit log, offline.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "verify",
        help="verify an export bundle",
        description="Verify an export bundle offline and say what was not checked.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", metavar="DIR", type=Path, help="the bundle folder")
    command.add_argument("--vkey", action="append", required=True, help="verifier key name+hash+key; repeatable")
    command.add_argument("--origin", required=True, metavar="NAME", help="the log's name, such as example.org/tenant")
    command.add_argument(
        "--checkpoint", action="append", default=[], type=Path, metavar="FILE",
        help="a checkpoint of this log that you kept; may be repeated",
    )  # fmt: skip
    return parser


def render(report: Report) -> str:
    """The report as text for a person."""
    lines = [
        f"{report.verdict.name}  log {report.origin}",
        f"  records {report.records}, under checkpoints {report.covered}, checkpoints {report.checkpoints}",
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
    return "\n".join(lines)


def _read_checkpoint(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_CHECKPOINT_FILE + 1).decode("utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parsed = _parser().parse_args(arguments)
    if not parsed.folder.is_dir():
        print(f"{parsed.folder} is not a folder; name the folder that the export wrote", file=sys.stderr)
        return USAGE
    try:
        held = [_read_checkpoint(path) for path in parsed.checkpoint]
        report = verify(parsed.folder, parsed.vkey, parsed.origin, held)
    except (AuditError, OSError, UnicodeDecodeError) as error:
        print(f"cannot verify: {error}", file=sys.stderr)
        return USAGE
    except Exception as error:  # noqa: BLE001 - whatever broke, the exit status must not read as a verdict
        print(f"internal fault, nothing was verified: {type(error).__name__}: {error}", file=sys.stderr)
        return INTERNAL
    print(render(report))
    return int(report.verdict)


if __name__ == "__main__":
    sys.exit(main())
