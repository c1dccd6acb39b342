"""Laws of exports about approvals: who signed, when and what it meant, wherever it is told again; nothing acts on a page."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import prov.model
import pytest

from audit.approvals import AfterRelease, ApprovalVoided, ResultAttached, bound, content_digest
from audit.export.figures import figures
from audit.export.siem import cef, ocsf
from audit.records import Kind
from audit.verify import Verdict
from tests.audit.approval_bodies import APPROVALS, LATER_TEXT, NEEDED, decided, delivered, ended
from tests.audit.export_samples import bundle_of, judged
from tests.audit.held_log import HeldLog
from tests.audit.samples import TENANT
from tests.audit.test_export_tables import opened

HOSTILE = "<script>alert(1)</script>"


def told(folder: Path) -> tuple[HeldLog, UUID]:
    """An answer that was edited, then let go by a broken glass and recalled."""
    log, generation, cycle = HeldLog.begun(folder)
    log.step(generation, decided(cycle, "ada", display_name="Ada Lovelace", meaning="responsibility"))
    log.step(generation, ApprovalVoided(1, "edited", "grace", HOSTILE))
    changed: dict[str, Any] = {"cycle": 2, "content": LATER_TEXT, "content_sha256": content_digest(LATER_TEXT)}
    changed |= {"contributors": (*cycle.contributors, "grace"), "needed": (NEEDED,)}
    following = bound(TENANT, generation, replace(cycle, **changed))
    log.step(generation, following)
    log.step(generation, ResultAttached(2, following.binding, "ci", "unit tests", True, ""))
    glass = log.step(generation, decided(following, "kay", method="break_glass", reason=HOSTILE))
    log.step(generation, ended(following, (glass,), 7, broke_glass=True))
    log.step(generation, delivered(generation, LATER_TEXT))
    log.step(generation, AfterRelease("recall", "ada", "the wrong customer"))
    log.checkpoint()
    return log, generation


def test_a_page_shows_each_signature(tmp_path: Path) -> None:
    """Printed name, time and meaning of each signature, and that the glass was broken; text of people stays text."""
    log, generation = told(tmp_path / "keys")
    bundle_of(log, tmp_path / "out")
    assert judged(log, tmp_path / "out").verdict is Verdict.VERIFIED
    (path,) = (tmp_path / "out" / "reports").glob(f"*-{generation}.approval.html")
    page = path.read_text()
    row = page[page.index("Ada Lovelace") : page.index("</tr>", page.index("Ada Lovelace"))]
    assert all(f"<td>{cell}</td>" in row for cell in ("ada", "responsibility", "approve", "password"))
    assert "2026-11-18T" in row and "one person&#x27;s word" in page and "the wrong customer" in page
    assert content_digest(LATER_TEXT).hex() in page and "def edited(): ..." in page
    assert "<script" not in page and "&lt;script&gt;" in page


def test_provenance_tells_who_decided(tmp_path: Path) -> None:
    """The document of an approval reads as PROV, has its people and cycles, and none of their words."""
    log, generation = told(tmp_path / "keys")
    bundle_of(log, tmp_path / "out")
    (path,) = (tmp_path / "out" / "provenance").glob(f"*-{generation}.approval.json")
    document = prov.model.ProvDocument.deserialize(io.StringIO(path.read_text()), format="json")
    found = json.loads(path.read_text())
    assert list(document.get_records())
    assert set(found["agent"]) == {"g:person-ada", "g:person-kay"}
    assert {(each["p:id"], each["prov:type"]["$"]) for each in found["agent"].values()} == {
        ("ada", "prov:Person"), ("kay", "prov:Person"),
    }  # fmt: skip
    assert set(found["entity"]) == {"g:answer", "g:content-1", "g:content-2"}
    assert found["activity"]["g:end"]["p:broke_glass"] is True
    assert "script" not in path.read_text() and "def edited" not in path.read_text()


@pytest.mark.parametrize("kind", list(APPROVALS))
def test_monitors_get_each_step(kind: Kind) -> None:
    """Every kind has a state for tables and monitors, and none of the words that people wrote."""
    record = opened(APPROVALS[kind], "ada")
    told_to_monitors = json.dumps([ocsf(record), cef(record)], default=str)
    assert figures(record.body)["state"]
    assert all(
        words not in told_to_monitors for words in ("read it twice", "off by one", "on leave", "the customer", "12 passed")
    )


def test_a_broken_glass_stands_out() -> None:
    """Its decision and its release are of a higher severity than others, and so is a recall."""
    cycle = APPROVALS[Kind.APPROVAL_OPENED]
    signed, done = APPROVALS[Kind.APPROVAL_DECIDED], APPROVALS[Kind.APPROVAL_ENDED]
    calm = [ocsf(opened(body, "ada"))["severity_id"] for body in (signed, done)]
    changed: tuple[Any, Any] = (signed, done)
    glass = replace(changed[0], method="break_glass", reason="fire"), replace(changed[1], broke_glass=True)
    loud = [ocsf(opened(body, "ada"))["severity_id"] for body in (*glass, APPROVALS[Kind.AFTER_RELEASE])]
    assert (calm, loud) == ([1, 1], [3, 3, 3]) and ocsf(opened(cycle, "gateway"))["severity_id"] == 2
