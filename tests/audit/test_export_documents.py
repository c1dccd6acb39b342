"""Laws of the documents about single generations: pages, provenance and attestations."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from prov.model import ProvActivity, ProvAgent, ProvDerivation, ProvDocument, ProvEntity
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key  # type: ignore[attr-defined]  # public, but not re-exported by the letter

from audit.errors import ExportRefused
from audit.export import Attester, Format
from audit.export.attestation import PAYLOAD_TYPE, PREDICATE
from audit.export.dsse import authenticated
from audit.export.generations import MOST_ITEMS, Generation, Generations
from audit.export.opened import BodyState, Opened
from audit.export.page import MOST_TEXT
from audit.export.plain import visible
from audit.export.report import report, spell_ids
from audit.header import Header, leaf_hash, uuid7
from audit.merkle import tree_root
from audit.note import Checkpoint, sign_checkpoint
from audit.records import Body, EngineNote, Kind, RequestOpen, SpecRounds, SpecRoundTrace, kind_of, schema_of
from audit.stories import Ending
from audit.verify import Verdict
from tests.audit.export_samples import ALL, altered, attester, bundle_of, judged, with_bodies
from tests.audit.samples import ORIGIN, POLICY, SAMPLES, START, TENANT, WHOLE_REQUEST, Log, small_log

REQUEST = uuid7(START)
COVER = Checkpoint(ORIGIN, 40, bytes(32))
TEXTS = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</td></table>", "&lt;b&gt;", "]]><!--", "\u202egpj.exe",
     "\x00\x1b[2J", "\ud800", "</pre><style>*{display:none}</style>", "{{7*7}}", "javascript:alert(1)"],
)  # fmt: skip


def told(bodies: list[Body], start: int = 0) -> Generation:
    """The generation of these bodies, all shown."""
    generations, last = Generations(), None
    for seq, body in enumerate(bodies, start):
        header = Header(
            TENANT,
            seq,
            START + seq,
            uuid7(START),
            REQUEST,
            kind_of(body),
            schema_of(kind_of(body)),
            "gateway",
            POLICY,
            "m",
            40,
            bytes(32),
        )
        last = generations.add(Opened(header, leaf_hash(header.encode()), BodyState.SHOWN, body))
    return last if last is not None else next(generations.remaining())


def whole(text: str) -> list[Body]:
    """A whole request that says `text` wherever a caller or a model may say something."""
    changes: dict[Kind, dict[str, Any]] = {
        Kind.REQUEST_OPEN: {"caller": text, "workflow": text, "model": text, "dialect": text, "constraint_kind": text or "x"},
        Kind.PROMPT_BODY: {"text": text}, Kind.POLICY_DECISION: {"reason": text, "rules": (text,)},
        Kind.GATE: {"rule": text, "verdict": text, "names": (text, text)}, Kind.ENGINE_NOTE: {"note": text, "detail": text},
        Kind.REQUEST_CLOSE: {"reason": text},
    }  # fmt: skip
    return [altered(body, **changes.get(kind_of(body), {})) for body in WHOLE_REQUEST]


class Skeleton(HTMLParser):
    """The tags of a page with their attributes, and the text between them."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(page.decode("utf-8", "strict"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        """Note an end."""
        self.tags.append((f"/{tag}", []))

    def handle_comment(self, data: str) -> None:
        """Note a comment, of which a page has none."""
        self.tags.append(("comment", []))

    def handle_data(self, data: str) -> None:
        """Gather text."""
        self.text += data


def page_of(text: str) -> Skeleton:
    """The page of a generation in which everybody says `text`."""
    return Skeleton(report(told(whole(text)), COVER, ORIGIN, lambda _: text))


PLAIN = page_of("harmless")


@given(TEXTS)
def test_hostile_text_stays_text(text: str) -> None:
    """Whatever prompt, caller, policy and model say, a page has the tags it always has and shows what was said."""
    page = page_of(text)
    assert page.tags == PLAIN.tags
    assert visible(text, MOST_TEXT) in page.text
    assert not {"\x00", "\x1b", "\u202e", "\r"} & set(page.text)


def test_a_page_is_one_file_without_script() -> None:
    """A page runs nothing and fetches nothing: no script, no link, no source, and a policy that allows only its own style."""
    names = {tag for tag, _ in PLAIN.tags}
    attributes = {name for _, pairs in PLAIN.tags for name, _ in pairs}
    assert names.isdisjoint({"script", "link", "img", "iframe", "a", "form", "object", "comment"})
    assert attributes <= {"lang", "charset", "http-equiv", "content", "name", "class"}
    page = report(told(whole("x")), COVER, ORIGIN, lambda _: "x").decode()
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in html.unescape(page)
    assert "td,pre{white-space:pre-wrap}" in style  # a draft that is indented otherwise is another draft
    assert "@media print" in style and "url(" not in style and "@import" not in style


def test_a_page_tells_the_generation() -> None:
    """Who asked, which policy, mode, drafts, gates, delivery and the state of proof are all on the page."""
    generation = told(list(WHOLE_REQUEST), start=3)
    page = Skeleton(report(generation, COVER, ORIGIN, lambda ids: " ".join(f"<{token}>" for token in ids)))
    opened = SAMPLES[Kind.REQUEST_OPEN]
    assert isinstance(opened, RequestOpen)
    for said in (
        opened.caller, opened.weights_digest.hex(), POLICY.hex(), "baseline", "diffusion", "hold", "gates.commit", "commit 0.5",
        "complete", hashlib.sha256(b"hello").hexdigest(), "10, from seq 3 to 12, in the log palimpsest.test/acme",
        "40 records", "<7> <40> <50> <60>", "<70000> <80>", generation.leaves.root().hex(), "python -m audit verify",
    ):  # fmt: skip
        assert said in page.text
    assert "no checkpoint covers" in Skeleton(report(generation, None, ORIGIN, str)).text
    assert "seconds of the device" not in page.text
    timed = told([altered(body, busy_us=1_500) if kind_of(body) == Kind.REQUEST_CLOSE else body for body in WHOLE_REQUEST])
    assert "seconds of the device0.001500" in Skeleton(report(timed, COVER, ORIGIN, str)).text


def test_a_page_shows_the_answer_as_it_left() -> None:
    """The answer ends before the first stop string and keeps a line break that it begins with; ids are not searched."""
    opening = altered(WHOLE_REQUEST[0], stop_strings=("END", "7"))
    generation = told([opening, *WHOLE_REQUEST[1:]])
    page = report(generation, None, ORIGIN, lambda _: "\nfirst END second").decode()
    answer = page.partition("<h2>Answer</h2>\n<pre>")[2].partition("</pre>")[0]
    assert answer == "\n\nfirst "  # readers drop the first line break of a pre
    assert "<pre>\n7 40 51 60" in report(generation, None, ORIGIN, spell_ids).decode()


@pytest.mark.parametrize(
    ("draft", "accepted", "output", "shown"),
    [
        ((7, 8, 9), 2, (8, 9, 10), ""),
        ((7, 8, 9), 1, (8, 10), "<span>7 8<del> 9</del></span>"),
        ((7, 8, 9), 1, (7,), "<span>7<del> 8 9</del></span>"),
    ],
    ids=["all of it held", "after a seed", "without a seed"],
)
def test_what_held_of_a_draft_is_not_struck_through(
    draft: tuple[int, ...], accepted: int, output: tuple[int, ...], shown: str
) -> None:
    """A page strikes a draft through from where it departs from what was kept, and from nowhere before."""
    each = SpecRoundTrace(0, 75, draft, (1.0, 0.5, 0.5), (8, 10, 11), accepted, output, (-1.0,) * len(output), 1, True)
    page = report(told([WHOLE_REQUEST[0], SpecRounds((each,))]), None, ORIGIN, spell_ids).decode()
    assert f"<td>{shown}</td><td>{spell_ids(output)}</td></tr>" in page


def test_a_long_generation_is_cut_and_says_so() -> None:
    """A generation of any length makes a page of bounded length that counts what it leaves out."""
    notes = [EngineNote(f"note {number}", "detail") for number in range(MOST_ITEMS + 100)]
    generation = told([WHOLE_REQUEST[0], *notes, *WHOLE_REQUEST[1:]])
    assert (len(generation.items), generation.records) == (MOST_ITEMS, MOST_ITEMS + 110)
    assert f"{generation.unlisted} further drafts" in Skeleton(report(generation, None, ORIGIN, str)).text
    assert generation.unlisted == 105 and generation.tokens == 7
    long = told([altered(body, text="x" * 200_000) if kind_of(body) == Kind.PROMPT_BODY else body for body in WHOLE_REQUEST])
    page = Skeleton(report(long, None, ORIGIN, str))
    assert "[100000 more characters]" in page.text and len(page.text) < 110_000


def test_text_is_spelled_only_by_the_model_that_wrote_it(tmp_path: Path) -> None:
    """A page shows words when the speller knows the weights, and token ids when it does not."""
    log = small_log(tmp_path / "keys")
    opened = SAMPLES[Kind.REQUEST_OPEN]
    assert isinstance(opened, RequestOpen)
    here = opened.weights_digest
    for weights, said in ((here, "spelled"), (bytes(32), "7 40 51 60 70000 80 11")):
        out = tmp_path / said[:3]
        speller = lambda asked, known=weights: (lambda _: "spelled") if asked == known else None  # noqa: E731
        bundle_of(log, out, frozenset({Format.HTML}), speller=speller)
        pages = [Skeleton(path.read_bytes()).text for path in sorted((out / "reports").iterdir())]
        assert len(pages) == 2 and all(said in page for page in pages)


def documents(out: Path, folder: str) -> list[Path]:
    """The documents of a kind in the order of the log."""
    return sorted((out / folder).iterdir())


def test_provenance_is_prov_json(tmp_path: Path) -> None:
    """The prov library reads each document, and it says who made the answer of what, and who judged and delivered it."""
    log = small_log(tmp_path / "keys")
    bundle_of(log, tmp_path / "out")
    for path in documents(tmp_path / "out", "provenance"):
        document = ProvDocument.deserialize(content=path.read_text(), format="json")
        entities, activities, agents = (
            {str(each.identifier) for each in document.get_records(kind)} for kind in (ProvEntity, ProvActivity, ProvAgent)
        )
        assert entities == {"g:prompt", "g:answer", "g:draft-0", "g:draft-1", "g:draft-2"}
        assert activities == {"g:generation", "g:gate-0", "g:delivery"}
        assert agents == {"g:caller", "g:model", "g:policy"}
        derived = document.get_records(ProvDerivation)
        origins = {tuple(str(value) for _, value in each.formal_attributes[:2]) for each in derived}
        assert origins == {("g:answer", f"g:{source}") for source in ("prompt", "draft-0", "draft-1", "draft-2")}
        again = ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
        assert again == document


def test_provenance_documents_may_be_merged(tmp_path: Path) -> None:
    """What two documents name is two things, each of its own generation, so merged they contradict nothing."""
    log = small_log(tmp_path / "keys")
    bundle_of(log, tmp_path / "out")
    first, second = (
        ProvDocument.deserialize(content=path.read_text(), format="json") for path in documents(tmp_path / "out", "provenance")
    )
    assert not {each.identifier for each in first.get_records(ProvEntity)} & {
        each.identifier for each in second.get_records(ProvEntity)
    }
    first.update(second)
    assert len(list(first.unified().get_records(ProvActivity))) == 6


def test_provenance_holds_no_content(tmp_path: Path) -> None:
    """What was asked and answered is not in the provenance: neither the prompt nor a reason or detail."""
    log = with_bodies(tmp_path / "keys", {kind_of(body): body for body in whole("marker of content")[1:9]})
    bundle_of(log, tmp_path / "out")
    (path,) = documents(tmp_path / "out", "provenance")
    said = json.loads(path.read_text())
    said["activity"] = {name: {} for name in said["activity"]}  # a verdict and its rule are words of the policy
    assert "marker of content" not in json.dumps(said)


def foreign_key(key_id: str, public: bytes) -> Key:
    """A public key as another program holds it."""
    return Key.from_dict(key_id, {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public.hex()}})


def trusted(log: Log) -> Key:
    """The public key of a log as another program holds it."""
    key = attester(log)
    return foreign_key(key.key_id, key.key.public)


def test_attestations_verify_with_a_foreign_tool(tmp_path: Path) -> None:
    """securesystemslib verifies each envelope, which states subjects, materials, range, tree and root as the log has them."""
    log = small_log(tmp_path / "keys")
    bundle_of(log, tmp_path / "out")
    paths = documents(tmp_path / "out", "attestations")
    starts, headers = (0, 11), [row.header for row in log.rows]
    for path, start in zip(paths, starts, strict=True):
        envelope = Envelope.from_dict(json.loads(path.read_bytes()))
        assert envelope.verify([trusted(log)], 1)
        assert envelope.payload_type == PAYLOAD_TYPE
        said = json.loads(envelope.payload)
        assert (said["_type"], said["predicateType"]) == ("https://in-toto.io/Statement/v1", PREDICATE)
        stated, size = said["predicate"]["log"], start + 10
        assert (stated["firstSeq"], stated["lastSeq"], stated["records"]) == (start, start + 9, 10)
        assert stated["recordsRoot"] == tree_root(map(leaf_hash, headers[start:size])).hex()
        assert (stated["treeSize"], stated["root"]) == (size, tree_root(map(leaf_hash, headers[:size])).hex())
        sealed = [hashlib.sha256(log.rows[seq].body or b"").hexdigest() for seq in (start + 8, start + 9)]
        assert [subject["digest"] for subject in said["subject"]] == [{"sha256": digest} for digest in sealed]
        resolved = said["predicate"]["buildDefinition"]["resolvedDependencies"]
        materials = {each["name"]: each["digest"]["sha256"] for each in resolved}
        assert materials == {"model": hashlib.sha256(b"weights").hexdigest(), "policy": POLICY.hex()}


def test_no_digest_of_plaintext_is_attested(tmp_path: Path) -> None:
    """Statements name sealed bodies only: neither the released bytes' digest nor that of the output ids is in them."""
    log = small_log(tmp_path / "keys")
    bundle_of(log, tmp_path / "out")
    for path in documents(tmp_path / "out", "attestations"):
        payload = base64.b64decode(json.loads(path.read_bytes())["payload"]).decode()
        for name in ("sha256_released", "output_digest"):
            digests = [getattr(body, name).hex() for body in WHOLE_REQUEST if hasattr(body, name)]
            assert digests and not any(digest in payload for digest in digests)


ENVELOPE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@given(payload=st.binary(min_size=1, max_size=200), place=st.integers(0, 10_000), change=st.integers(1, 255), data=st.data())
def test_a_changed_byte_breaks_an_envelope(payload: bytes, place: int, change: int, data: st.DataObject) -> None:
    """A byte changed in payload, type or signature, or another key, and securesystemslib refuses the envelope."""
    signer = Attester.of(ORIGIN, ENVELOPE_KEY)
    key = foreign_key(signer.key_id, signer.key.public)
    envelope = Envelope.from_dict(json.loads(signer.envelope(PAYLOAD_TYPE, payload)))
    assert envelope.pae() == authenticated(PAYLOAD_TYPE, payload)
    assert envelope.verify([key], 1)
    part = data.draw(st.sampled_from(("payload", "type", "signature", "key")))
    if part == "payload":
        envelope.payload = flipped(payload, place, change)
    elif part == "type":
        envelope.payload_type += "x"
    elif part == "signature":
        signature = envelope.signatures[signer.key_id]
        signature.signature = flipped(bytes.fromhex(signature.signature), place, change).hex()
    else:
        key = foreign_key(signer.key_id, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


def flipped(data: bytes, place: int, change: int) -> bytes:
    """The bytes with one of them changed."""
    at = place % len(data)
    return data[:at] + bytes((data[at] ^ change,)) + data[at + 1 :]


def test_nothing_is_signed_that_no_checkpoint_covers(tmp_path: Path) -> None:
    """Without a checkpoint under the log's own key over a generation there is no statement about it."""
    bare = with_bodies(tmp_path / "bare", {}, note=False)
    bundle_of(bare, tmp_path / "out")
    forged = with_bodies(tmp_path / "forged", {}, note=False)
    forged.notes = [sign_checkpoint(Checkpoint(ORIGIN, 10, forged.tree.root()), Ed25519PrivateKey.generate())]
    bundle_of(forged, tmp_path / "other")
    for out in ("out", "other"):
        assert not (tmp_path / out / "attestations").exists()
        assert "no checkpoint covers" in documents(tmp_path / out, "reports")[0].read_text()


def test_a_rewritten_log_is_not_attested(tmp_path: Path) -> None:
    """When records contradict a checkpoint, the export says at which size, and nothing from there on is signed."""
    log = small_log(tmp_path / "keys")
    del log.rows[12]
    log.rows.append(log.rows[-1])
    done = bundle_of(log, tmp_path / "out")
    assert (done.contradicted, judged(log, tmp_path / "out").verdict) == (21, Verdict.TAMPERED)
    (path,) = documents(tmp_path / "out", "attestations")
    assert path.name.startswith("000000000000-")


def test_a_generation_that_did_not_end_is_told_but_not_attested(tmp_path: Path) -> None:
    """What the log leaves open has a page that says open, and no statement, although a checkpoint covers it."""
    log = Log(tmp_path / "keys")
    log.add(uuid7(START), WHOLE_REQUEST[:9])
    log.checkpoint()
    bundle_of(log, tmp_path / "out")
    assert Ending.OPEN.value in Skeleton(documents(tmp_path / "out", "reports")[0].read_bytes()).text
    assert not (tmp_path / "out" / "attestations").exists()


def test_statements_need_a_signer(tmp_path: Path) -> None:
    """Asking for in-toto without an attester is refused before a folder is made."""
    log = small_log(tmp_path / "keys")
    with pytest.raises(ExportRefused, match="signed"):
        bundle_of(log, tmp_path / "out", ALL, attester=None)
    assert not (tmp_path / "out").exists()
