"""The README.txt of a bundle: what lies in the folder, what of it is evidence, and how it is checked."""

from __future__ import annotations

from audit.bundle import DERIVED
from audit.export import attestation, provenance, report, sheet, siem
from audit.export.derivation import Extras, Format

_EVIDENCE = """\
Audit export of one tenant's whole log. Every line of records.jsonl is one record: its header (the Merkle leaf) and
its sealed body, base64. checkpoints.jsonl holds the signed tree heads, disclosure.jsonl the keys of what is
disclosed. anchor.json, if it is here, is what the log of checkpoints says of this log.

Verify offline, with the verifier key and origin that you obtained from somewhere else than this folder:

    python -m audit verify THIS_FOLDER --vkey KEY --origin NAME

Exit status: 0 verified, 1 tampered, 2 malformed, 3 valid but incomplete.
The format is described in audit/FORMAT.md. There are no exports of a part of a log: only the whole can be verified.
"""

_DERIVED = """
Not evidence. The files below say again, in other forms, what the records say. The verifier finds out whether they are as the
exporter wrote them, by {list}, and does not read what they say.

"""

_PARTS = {
    Format.PARQUET: "records.parquet: headers, figures and disclosed bodies in columns; steps.parquet: each denoising step "
    "of\n  disclosed blocks by itself",
    Format.CSV: f"{sheet.NAME}: headers and figures for spreadsheets; altered where a cell could be a formula",
    Format.PROV: f"{provenance.FOLDER}/: W3C PROV-JSON, one document for each disclosed generation and approval",
    Format.IN_TOTO: f"{attestation.FOLDER}/: in-toto statements in DSSE envelopes, signed with the log's key, one for each "
    "disclosed generation\n  that has ended and lies under a checkpoint",
    Format.OCSF: f"{siem.OCSF_NAME}: OCSF API Activity for security monitors, without content",
    Format.CEF: f"{siem.CEF_NAME}: CEF for security monitors, without content",
    Format.HTML: f"{report.FOLDER}/: a page to read and print for each disclosed generation and approval",
}
_POLICIES = (
    "policies/: the policy that ships and all that disclosed records put in force or on trial, resolved, each under the\n"
    "  digest that decisions name, which is its SHA-256"
)


def readme(extras: Extras, derived: bool) -> str:
    """The text; `derived` tells whether there are derived files to speak of."""
    if not derived:
        return _EVIDENCE
    parts = [text for wanted, text in _PARTS.items() if wanted in extras.formats]
    parts += [_POLICIES] if extras.policies else []
    lines = "".join(f"* {part}\n" for part in parts)
    return f"{_EVIDENCE}{_DERIVED.format(list=DERIVED)}{lines}"
