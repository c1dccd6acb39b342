"""One line per record for security monitors: OCSF as JSON lines, and CEF. States, counts and ids, never content.

Delivery to a monitor is at least once; `metadata.uid` (tenant and seq) and `externalId` (the record's id) tell repeats.
"""

from __future__ import annotations

from audit.bundle import json_line
from audit.export.derivation import Derivation
from audit.export.figures import COUNTS, WORDS, Figures, figures
from audit.export.folder import Folder
from audit.export.opened import Opened
from audit.records import Kind, kind_name

OCSF_NAME = "records.ocsf.jsonl"
CEF_NAME = "records.cef"
OCSF_VERSION = "1.6.0"
_CLASS, _CATEGORY = 6003, 6
"""API Activity, of the application category."""
_CREATE, _READ, _UPDATE, _DELETE, _OTHER = 1, 2, 3, 4, 99
_ACTIVITIES: dict[int, int] = {
    Kind.REQUEST_OPEN: _CREATE, Kind.HOLD_PLACED: _CREATE, Kind.DELIVERY: _READ, Kind.ACCESS: _READ, Kind.EXPORT: _READ,
    Kind.REQUEST_CLOSE: _UPDATE, Kind.POLICY_CHANGE: _UPDATE, Kind.KEY_CHANGE: _UPDATE, Kind.RETENTION_RULE: _UPDATE,
    Kind.SCHEMA_CHANGE: _UPDATE, Kind.ERASURE: _DELETE, Kind.RETIREMENT: _DELETE, Kind.HOLD_RELEASED: _DELETE,
    Kind.APPROVAL_OPENED: _CREATE, Kind.ATTACHED: _CREATE, Kind.DELEGATION: _CREATE, Kind.APPROVED_DELIVERY: _READ,
    Kind.APPROVAL_DECIDED: _UPDATE, Kind.APPROVAL_REVOKED: _UPDATE, Kind.APPROVAL_VOIDED: _UPDATE,
    Kind.APPROVAL_ENDED: _UPDATE, Kind.RESULT_ATTACHED: _UPDATE, Kind.AFTER_RELEASE: _UPDATE,
}  # fmt: skip
_REFUSALS = {"refuse", "block", "blocked", "withheld", "reject"}
_CONCERNS = {"hold", "aborted", "fault", "pending", "revoked", "void", "failed"}
_ALARMS = {"break_glass", "recall"}
"""What stands out without being a refusal, in whichever figure it is."""
_UNKNOWN, _INFORMATIONAL, _LOW, _MEDIUM = 0, 1, 2, 3
_CEF_SEVERITY = {_UNKNOWN: "Unknown", _INFORMATIONAL: "1", _LOW: "4", _MEDIUM: "6"}
_SUCCESS, _FAILURE = 1, 2


class Ocsf(Derivation):
    """Writes OCSF events of class API Activity."""

    def __init__(self, folder: Folder) -> None:
        self._file = folder.open(OCSF_NAME)

    def record(self, opened: Opened) -> None:
        self._file.write(json_line(ocsf(opened)))

    def close(self) -> None:
        self._file.close()


class Cef(Derivation):
    """Writes CEF version 0."""

    def __init__(self, folder: Folder) -> None:
        self._file = folder.open(CEF_NAME)

    def record(self, opened: Opened) -> None:
        self._file.write(f"{cef(opened)}\n".encode())

    def close(self) -> None:
        self._file.close()


def ocsf(opened: Opened) -> dict[str, object]:
    """The event of a record; how it went is unknown of a body that is not shown.

    No address is recorded in the log, so the source endpoint says only that.
    """
    header, told = opened.header, figures(opened.body)
    activity = _ACTIVITIES.get(header.kind, _OTHER)
    status = _UNKNOWN if opened.body is None else _FAILURE if told.get("state") in _REFUSALS else _SUCCESS
    api: dict[str, object] = {"operation": kind_name(header.kind), "service": {"name": "palimpsest"}}
    if header.request is not None:
        api["request"] = {"uid": str(header.request)}
    return {
        "activity_id": activity, "category_uid": _CATEGORY, "class_uid": _CLASS, "type_uid": _CLASS * 100 + activity,
        **({"activity_name": kind_name(header.kind)} if activity == _OTHER else {}),
        "severity_id": _severity(opened, told), "status_id": status, "time": header.ts // 1000,
        "actor": {"user": {"uid": header.actor}}, "src_endpoint": {"name": "not recorded"},
        "api": api,
        "metadata": {
            "version": OCSF_VERSION, "uid": f"{header.tenant}/{header.seq}", "event_code": kind_name(header.kind),
            "product": {"name": "Palimpsest", "vendor_name": "Palimpsest"}, "tenant_uid": header.tenant,
        },
        "unmapped": {
            "seq": header.seq, "record": str(header.record), "leaf": opened.leaf.hex(), "body": opened.state.value, **told,
            "policy": None if header.policy is None else header.policy.hex(),
        },
    }  # fmt: skip


def cef(opened: Opened) -> str:
    """The line of a record, without its end."""
    header, told = opened.header, figures(opened.body)
    name = kind_name(header.kind)
    extension: dict[str, str | int] = {
        "rt": header.ts // 1000, "externalId": str(header.record), "suser": header.actor,
        "cs1Label": "place", "cs1": f"{header.tenant}/{header.seq}", "cs2Label": "leaf", "cs2": opened.leaf.hex(),
        "cs3Label": "body", "cs3": opened.state.value,
    }  # fmt: skip
    if header.request is not None:
        extension |= {"cs4Label": "request", "cs4": str(header.request)}
    if "state" in told:
        extension["outcome"] = told["state"]
    extension |= {f"palimpsest{key.title().replace('_', '')}": told[key] for key in (*WORDS[1:], *COUNTS) if key in told}
    parts = (f"{key}={_extension(str(value))}" for key, value in extension.items())
    severity = _CEF_SEVERITY[_severity(opened, told)]
    return f"CEF:0|Palimpsest|gateway|1|{header.kind}|{_prefix(name)}|{severity}|{' '.join(parts)}"


def _severity(opened: Opened, told: Figures) -> int:
    if opened.body is None:
        return _UNKNOWN
    state = told.get("state")
    alarming = state in _REFUSALS or not _ALARMS.isdisjoint((state, told.get("rule")))
    return _MEDIUM if alarming else _LOW if state in _CONCERNS else _INFORMATIONAL


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _prefix(text: str) -> str:
    return _one_line(text).replace("\\", "\\\\").replace("|", "\\|")


def _extension(text: str) -> str:
    return _one_line(text).replace("\\", "\\\\").replace("=", "\\=")
