"""A page about one generation for a person to read and print. What a model or a caller wrote is hostile text here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from audit.export import signatures
from audit.export.approvals import Approval
from audit.export.derivation import Derivation, Spell, Speller
from audit.export.folder import Folder
from audit.export.generations import Draft, Generation
from audit.export.page import Element, document, facts, table, tag
from audit.export.plain import stamp
from audit.note import Checkpoint

FOLDER = "reports"


def spell_ids(ids: Sequence[int]) -> str:
    """Token ids as numbers, for want of their tokenizer."""
    return " ".join(map(str, ids))


class Reports(Derivation):
    """Writes `reports/<generation>.html`, and `reports/<generation>.approval.html` of one that was held."""

    def __init__(self, folder: Folder, origin: str, speller: Speller | None) -> None:
        self._folder, self._origin = folder, origin
        self._speller = speller or (lambda _: None)

    def generation(self, told: Generation, cover: Checkpoint | None) -> None:
        spell = self._speller(told.opened.weights_digest) or spell_ids
        self._folder.write(f"{FOLDER}/{told.name}.html", report(told, cover, self._origin, spell))

    def approval(self, told: Approval) -> None:
        self._folder.write(f"{FOLDER}/{told.name}.html", signatures.page(told, self._origin))


def report(told: Generation, cover: Checkpoint | None, origin: str, spell: Spell) -> bytes:
    """The page, as UTF-8."""
    return document(
        f"Generation {told.request}",
        tag("h1", f"Generation {told.request}"),
        tag("p", "This page is a copy for reading and proves nothing by itself; see Proof below.", role="warning"),
        *_section("Who asked", _asked(told)),
        *_section("Policy", _policy(told)),
        *_section("Prompt", tag("pre", "not disclosed" if told.prompt is None else told.prompt.text)),
        *_section("Answer", tag("pre", _answer(told, spell)), _outcome(told)),
        *_section("Drafts", *_drafts(told, spell)),
        *_section("Gates", _gates(told)),
        *_section("What the engine noted", table(("note", "detail"), ((each.note, each.detail) for each in told.notes))),
        *_section("Proof", *_proof(told, cover, origin)),
    )


def _section(title: str, *children: Element) -> tuple[Element, ...]:
    return (tag("h2", title), *children)


def _asked(told: Generation) -> Element:
    opened = told.opened
    return facts(
        (
            ("caller", opened.caller), ("tenant", told.first.tenant), ("workflow", opened.workflow),
            ("dialect", opened.dialect), ("asked", stamp(told.first.ts)), ("last record", stamp(told.last.ts)),
            ("model", opened.model), ("weights", opened.weights_digest.hex()), ("mode", opened.mode),
            ("block length", opened.block_length), ("most tokens", opened.max_tokens),
            ("temperature", opened.temperature), ("seed", opened.seed), ("numerics", f"{opened.numeric}, {opened.dtype}"),
            ("constraint", opened.constraint_kind or "none"), ("served by", opened.instance),
        )
    )  # fmt: skip


def _policy(told: Generation) -> Element:
    decision = told.decision
    if decision is None:
        return tag("p", "The decision is not disclosed.")
    return facts(
        (
            ("outcome", decision.outcome), ("reason", decision.reason), ("digest", decision.policy_digest.hex()),
            ("rules", ", ".join(decision.rules)), ("mode", decision.mode),
            ("modes permitted", ", ".join(decision.modes_permitted)), ("release", decision.release),
        )
    )  # fmt: skip


def _answer(told: Generation, spell: Spell) -> str:
    """Its text, which ends before the first stop string: the rest left with nobody, and is among the drafts."""
    text = spell(told.output)
    stops = () if spell is spell_ids else filter(None, told.opened.stop_strings)
    return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]


def _outcome(told: Generation) -> Element:
    delivery, close = told.delivery, told.close
    rows: list[tuple[str, object]] = [("ending", told.ending.value), ("output tokens in the records", told.tokens)]
    if len(told.output) < told.tokens:
        rows.append(("tokens shown above", len(told.output)))
    if delivery is not None:
        rows += [("delivery", delivery.outcome), ("bytes released", delivery.bytes_released),
                 ("SHA-256 of released bytes", delivery.sha256_released.hex())]  # fmt: skip
    if close is not None:
        names = ("tokens", "blocks", "steps", "rounds", "forwards")
        rows += [("finished because", close.reason), *((f"declared {name}", getattr(close, name)) for name in names)]
        if close.busy_us is not None:
            rows.append(("seconds of the device", f"{close.busy_us / 1_000_000:.6f}"))
    return facts(rows)


def _drafts(told: Generation, spell: Spell) -> Iterator[Element]:
    names = ("seq", "unit", "start", "steps", "forwards", "least sure", "first draft", "kept")
    yield table(names, (_draft(each, spell) for each in told.drafts))
    if told.unlisted:
        yield tag("p", f"{told.unlisted} further drafts, verdicts and notes are in the records and not listed here.")


def _draft(each: Draft, spell: Spell) -> tuple[object, ...]:
    sure = "" if each.confidence is None else f"{each.confidence:.3f}"
    held, whole = _held(each), spell(each.draft)
    stands = spell(each.draft[:held])
    if not whole.startswith(stands):  # a letter takes tokens of both parts
        stands = ""
    first = tag("span", stands, tag("del", whole[len(stands) :])) if held < len(each.draft) else ""
    unit = f"{each.kind} {each.index}" if each.draft or each.steps else each.kind
    return each.header.seq, unit, each.start, each.steps, each.forwards, sure, first, spell(each.output)


def _held(each: Draft) -> int:
    """How many ids the draft begins with that stand; that of a round may begin with one that was output before."""
    begins = (0, 1) if each.kind == "round" else (0,)
    same = (takewhile(lambda pair: pair[0] == pair[1], zip(each.draft[ahead:], each.output, strict=False)) for ahead in begins)
    return max(ahead + sum(1 for _ in pairs) for ahead, pairs in zip(begins, same, strict=True))


def _gates(told: Generation) -> Element:
    if not told.gates:
        return tag("p", "No gate judged this generation." if not told.opened.gated else "No verdict is disclosed.")
    rows = (
        (gate.header.seq, gate.verdict.block_index, gate.verdict.verdict, gate.verdict.rule,
         ", ".join(f"{name} {value:.4g}" for name, value in zip(gate.verdict.names, gate.verdict.values, strict=True)))
        for gate in told.gates
    )  # fmt: skip
    return table(("seq", "unit", "verdict", "rule", "figures"), rows)


def _proof(told: Generation, cover: Checkpoint | None, origin: str) -> Iterator[Element]:
    covered = "no checkpoint covers its last record" if cover is None else f"{cover.size} records, root {cover.root.hex()}"
    yield facts(
        (
            ("records", f"{told.records}, from seq {told.first.seq} to {told.last.seq}, in the log {origin}"),
            ("bodies that could not be read", told.unread), ("root over its own leaves", told.leaves.root().hex()),
            ("first checkpoint over all of it", covered),
        )
    )  # fmt: skip
    yield tag("p", "Not checked by this page. Check the whole bundle, with a key that did not come with it:")
    yield tag("pre", f"python -m audit verify FOLDER --origin {origin} --vkey KEY")
