"""W3C PROV-JSON, one document per generation: who and what had a part in the answer. Ids and states, no content.

Every entity that is a record carries its seq, its id and the digest of its sealed body, so it can be found in the log.
Names are of one request, so documents may be merged; an approval speaks of the same answer as its generation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias
from uuid import UUID

from audit.approvals import ApprovalDecided, ApprovalEnded, ApprovalOpened
from audit.bundle import json_line
from audit.export.approvals import Approval
from audit.export.derivation import Derivation
from audit.export.folder import Folder
from audit.export.generations import Draft, Gate, Generation
from audit.export.plain import stamp
from audit.header import Header
from audit.note import Checkpoint

FOLDER = "provenance"
NAMESPACE = "tag:palimpsest.local,2026:"
Attributes: TypeAlias = Mapping[str, object]


class Provenance(Derivation):
    """Writes `provenance/<generation>.json`, and `provenance/<generation>.approval.json` of one that was held."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def generation(self, told: Generation, cover: Checkpoint | None) -> None:
        self._folder.write(f"{FOLDER}/{told.name}.json", json_line(document(told, cover)))

    def approval(self, told: Approval) -> None:
        self._folder.write(f"{FOLDER}/{told.name}.json", json_line(approval_document(told)))


def document(told: Generation, cover: Checkpoint | None) -> dict[str, object]:
    """The PROV-JSON document of a generation."""
    prov = _Document(told.request)
    prov.entity("prompt", {"prov:type": _name("prompt"), **_of_record(told.prompt_header or told.first)})
    prov.entity("answer", {"prov:type": _name("answer"), **_answer(told, cover)})
    _agents(prov, told)
    prov.add("activity", "generation", {
        "prov:startTime": stamp(told.first.ts), "prov:endTime": stamp(told.last.ts),
        "p:mode": told.opened.mode, "p:ending": told.ending.value,
    })  # fmt: skip
    prov.relate("used", activity="generation", entity="prompt")
    prov.relate("wasGeneratedBy", entity="answer", activity="generation")
    prov.relate("wasDerivedFrom", generatedEntity="answer", usedEntity="prompt")
    for number, draft in enumerate(told.drafts):
        _draft(prov, f"draft-{number}", draft)
    for number, gate in enumerate(told.gates):
        _gate(prov, f"gate-{number}", gate)
    _delivery(prov, told)
    return prov.done()


def approval_document(told: Approval) -> dict[str, object]:
    """The PROV-JSON document of an approval: contents by cycle, who decided about each, and what came of it."""
    prov = _Document(told.request)
    prov.entity("answer", {"prov:type": _name("answer"), "p:request": str(told.request)})
    for header, cycle in told.of(ApprovalOpened):
        name, before = f"content-{cycle.cycle}", f"content-{cycle.cycle - 1}" if cycle.cycle > 1 else "answer"
        prov.entity(name, {"prov:type": _name("content"), **_of_record(header), "p:binding": cycle.binding.hex()})
        prov.relate("wasDerivedFrom", generatedEntity=name, usedEntity=before)
    for number, (header, decided) in enumerate(told.of(ApprovalDecided)):
        person, signed = _person(prov, decided.person), {"p:decision": decided.decision, "p:meaning": decided.meaning}
        signed |= {"p:method": decided.method, "prov:startTime": stamp(header.ts)}
        prov.add("activity", f"decision-{number}", {"prov:type": _name("decision"), "p:seq": header.seq, **signed})
        prov.relate("used", activity=f"decision-{number}", entity=f"content-{decided.cycle}")
        prov.relate("wasAssociatedWith", activity=f"decision-{number}", agent=person)
        if decided.on_behalf_of is not None:
            prov.relate("actedOnBehalfOf", delegate=person, responsible=_person(prov, decided.on_behalf_of))
    for header, ended in told.of(ApprovalEnded):
        outcome = {"p:outcome": ended.outcome, "p:why": ended.why, "p:broke_glass": ended.broke_glass}
        prov.add("activity", "end", {"prov:type": _name("end"), "prov:startTime": stamp(header.ts), **outcome})
        prov.relate("used", activity="end", entity=f"content-{ended.cycle}")
    return prov.done()


def _person(prov: _Document, user: str) -> str:
    """The name of the agent that a user is."""
    prov.add("agent", f"person-{user}", {"prov:type": {"$": "prov:Person", "type": "prov:QUALIFIED_NAME"}, "p:id": user})
    return f"person-{user}"


def _agents(prov: _Document, told: Generation) -> None:
    decision, opened = told.decision, told.opened
    prov.add("agent", "caller", {"prov:type": _name("caller"), "p:id": opened.caller})
    software = {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"}
    prov.add("agent", "model", {"prov:type": software, "p:name": opened.model, "p:weights": opened.weights_digest.hex()})
    digest = told.first.policy if decision is None else decision.policy_digest
    policy = {"p:digest": "" if digest is None else digest.hex(), "p:outcome": "" if decision is None else decision.outcome}
    prov.add("agent", "policy", {"prov:type": _name("policy"), **policy})
    prov.relate("wasAttributedTo", entity="prompt", agent="caller")
    prov.relate("wasAssociatedWith", activity="generation", agent="model")
    prov.relate("wasAssociatedWith", activity="generation", agent="policy")
    prov.relate("actedOnBehalfOf", delegate="model", responsible="caller")


def _draft(prov: _Document, name: str, draft: Draft) -> None:
    figures = {"p:index": draft.index, "p:drafted": len(draft.draft), "p:kept": len(draft.output), "p:steps": draft.steps}
    prov.entity(name, {"prov:type": _name(draft.kind), **_of_record(draft.header), **figures})
    prov.relate("wasGeneratedBy", entity=name, activity="generation")
    if draft.output:
        prov.relate("wasDerivedFrom", generatedEntity="answer", usedEntity=name)


def _gate(prov: _Document, name: str, gate: Gate) -> None:
    verdict = {"p:verdict": gate.verdict.verdict, "p:rule": gate.verdict.rule, "p:unit": gate.verdict.block_index}
    prov.add("activity", name, {"prov:type": _name("gate"), "prov:startTime": stamp(gate.header.ts), **verdict})
    prov.relate("wasInformedBy", informed=name, informant="generation")
    prov.relate("wasAssociatedWith", activity=name, agent="policy")


def _delivery(prov: _Document, told: Generation) -> None:
    if told.delivery is None:
        return
    outcome = {"p:outcome": told.delivery.outcome, "p:bytes": told.delivery.bytes_released}
    prov.add("activity", "delivery", {"prov:type": _name("delivery"), **outcome})
    prov.relate("used", activity="delivery", entity="answer")


def _answer(told: Generation, cover: Checkpoint | None) -> Attributes:
    covered: Attributes = {} if cover is None else {"p:tree_size": cover.size, "p:root": cover.root.hex()}
    return {
        "p:request": str(told.request), "p:first_seq": told.first.seq, "p:last_seq": told.last.seq,
        "p:records": told.records, "p:records_root": told.leaves.root().hex(), "p:tokens": told.tokens,
        "p:unlisted": told.unlisted, **covered,
    }  # fmt: skip


def _of_record(header: Header) -> Attributes:
    return {"p:seq": header.seq, "p:record": str(header.record), "p:sealed_sha256": header.body_sha256.hex()}


def _name(local: str) -> Attributes:
    return {"$": f"p:{local}", "type": "prov:QUALIFIED_NAME"}


class _Document:
    """PROV-JSON under construction: sections by kind, names in the namespace of one request, relations numbered."""

    def __init__(self, request: UUID) -> None:
        self._prefix = {"g": f"urn:uuid:{request}#", "p": NAMESPACE}
        self._sections: defaultdict[str, dict[str, Attributes]] = defaultdict(dict)

    def add(self, section: str, name: str, attributes: Attributes) -> None:
        self._sections[section][f"g:{name}"] = attributes

    def entity(self, name: str, attributes: Attributes) -> None:
        self.add("entity", name, attributes)

    def relate(self, relation: str, **ends: str) -> None:
        section = self._sections[relation]
        section[f"_:{relation}{len(section)}"] = {f"prov:{role}": f"g:{name}" for role, name in ends.items()}

    def done(self) -> dict[str, object]:
        return {"prefix": self._prefix, **self._sections}
