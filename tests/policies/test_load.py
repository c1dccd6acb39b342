"""Loading: closed documents, tightening inheritance, content digests."""

from pathlib import Path

import pytest

import policies
from policies import Mode, PolicyError
from policies.modes import CONCRETE
from policies.policy import digest
from tests.policies.facts import HEAD, STRICT, write


def test_baseline_permits_all_four_modes_and_drafts_by_speculation() -> None:
    """The shipped baseline allows every mode, defaults to linear_spec at block 16, and streams."""
    document = policies.load(policies.BASELINE).document
    assert set(document.modes.allowed) == set(CONCRETE)
    assert document.modes.default is Mode.LINEAR_SPEC
    assert document.modes.linear_spec.block_length.default == 16
    assert document.modes.diffusion.threshold is not None
    assert document.modes.diffusion.threshold.default == 0.9
    assert document.release is policies.Release.STREAM


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (STRICT + "surprise = 1\n", "modes"),
        (STRICT + "[modes.diffusion.block_length]\ndefault = 33\n", "modes.diffusion.block_length.default"),
        (STRICT + "[modes.ar.threshold]\nleast = 0.5\ndefault = 0.4\n", "modes.ar.threshold"),
        (STRICT + "[modes.ar.threshold]\ndefault = nan\n", "modes.ar.threshold.default"),
        (STRICT + "[modes.ar.block_length]\nchoices = [8, 32]\n", "modes.ar.block_length"),
        (HEAD + '[modes]\nallowed = ["ar"]\ndefault = "diffusion"\n', "modes"),
        (HEAD + '[modes]\nallowed = ["ar", "ar"]\ndefault = "ar"\n', "modes"),
        (HEAD + '[modes]\nallowed = ["ar", "auto"]\ndefault = "ar"\n', "modes"),
        (HEAD + '[modes]\nallowed = ["diffusion"]\ndefault = "auto"\n', "modes"),
        (STRICT + "[modes.auto]\n", "modes"),
        (HEAD + '[modes]\nallowed = ["ar", "psychic"]\ndefault = "ar"\n', "modes.allowed[1]"),
        (HEAD + "[limits]\nmax_tokens = 8\n[modes]\nallowed = ['ar']\ndefault = 'ar'\n", "limits"),
        ('tenant = "acme"\n', "schema"),
        ('schema = "palimpsest.policy/1"\ninherit = "baseline"\n', "tenant"),
        (HEAD + 'inherit = "../secret"\n', "inherit"),
        (HEAD + 'inherit = "nobody"\n', "inherit"),
        (HEAD + "modes = \n", ""),
    ],
)
def test_an_unusable_document_is_refused_with_its_place(tmp_path: Path, text: str, key: str) -> None:
    """A document that is not complete, closed and consistent does not load; the error names file and key."""
    path = write(tmp_path, "acme", text)
    with pytest.raises(PolicyError) as caught:
        policies.load(path)
    assert caught.value.file == path
    assert caught.value.path == key
    assert caught.value.reason


def test_an_unreadable_file_is_a_policy_error(tmp_path: Path) -> None:
    """A missing file and one that is not UTF-8 raise PolicyError, not an error of the file system."""
    (tmp_path / "latin.toml").write_bytes(b"tenant = '\xe9'")
    for name in ("absent", "latin"):
        with pytest.raises(PolicyError, match=f"{name}.toml"):
            policies.load(tmp_path / f"{name}.toml")


def test_a_child_inherits_what_it_does_not_say(tmp_path: Path) -> None:
    """Tables merge over the shipped baseline; the child's own values win."""
    text = HEAD + 'inherit = "baseline"\n[modes.diffusion]\nthreshold = { least = 0.5 }\n'
    document = policies.load(write(tmp_path, "acme", text)).document
    assert document.modes.diffusion.threshold is not None
    assert document.modes.diffusion.threshold.least == 0.5
    assert document.modes.diffusion.threshold.default == 0.9
    assert set(document.modes.allowed) == set(CONCRETE)


@pytest.mark.parametrize(
    ("above", "below", "key"),
    [
        ("", '[modes]\nallowed = ["ar", "diffusion"]\ndefault = "ar"\n', "modes.allowed"),
        ("client_may_choose = false\n", "[modes]\nclient_may_choose = true\n", "modes.client_may_choose"),
        ("[limits]\nmax_tokens = 600\n", "[limits]\nmax_tokens = 601\n", "limits.max_tokens"),
        (
            "[limits]\nmax_prompt_tokens = 8\n",
            "[limits]\nmax_prompt_tokens = 9\n",
            "limits.max_prompt_tokens",
        ),
        (
            "[modes.ar.max_steps]\nleast = 2\n",
            "[modes.ar.max_steps]\nleast = 1\n",
            "modes.ar.max_steps.least",
        ),
        (
            "[modes.ar.threshold]\nmost = 0.5\n",
            "[modes.ar.threshold]\nmost = 0.6\n",
            "modes.ar.threshold.most",
        ),
        (
            "[modes.ar.block_length]\nchoices = [8, 16]\n",
            "[modes.ar.block_length]\nchoices = [8, 16, 32]\n",
            "modes.ar.block_length.choices",
        ),
        (
            "[modes.ar.seed_first]\nclient_may_set = false\n",
            "[modes.ar.seed_first]\nclient_may_set = true\n",
            "modes.ar.seed_first.client_may_set",
        ),
        ("", 'enforcement = "shadow"\n', "enforcement"),
        ("", 'tenant = "other"\n', "tenant"),
    ],
)
def test_a_child_may_only_tighten(tmp_path: Path, above: str, below: str, key: str) -> None:
    """A child that grants what its parent refuses does not load."""
    write(tmp_path, "strict", STRICT + above)
    head = HEAD if "tenant" not in below else HEAD.replace('tenant = "acme"\n', "")
    with pytest.raises(PolicyError, match="only tighten 'strict'") as caught:
        policies.load(write(tmp_path, "acme", head + 'inherit = "strict"\n' + below))
    assert caught.value.path == key


def test_a_default_of_auto_is_inherited_and_may_be_taken_up(tmp_path: Path) -> None:
    """A child may make `auto` its default and inherits one, but not once it has given up every causal mode."""
    above = write(tmp_path, "strict", STRICT + "client_may_choose = false\n")
    assert policies.load(above).document.modes.choices == (Mode.AR, Mode.LINEAR_SPEC, Mode.AUTO)
    write(tmp_path, "middle", HEAD + 'inherit = "strict"\n[modes]\ndefault = "auto"\n')
    kept = policies.load(write(tmp_path, "kept", HEAD + 'inherit = "middle"\n[modes]\nallowed = ["ar"]\n'))
    assert (kept.document.modes.default, kept.document.modes.allowed) == (Mode.AUTO, (Mode.AR,))
    with pytest.raises(PolicyError, match="needs a causal mode"):
        policies.load(write(tmp_path, "last", HEAD + 'inherit = "middle"\n[modes]\nallowed = []\n'))


def test_a_whole_release_is_not_loosened_by_a_grandchild(tmp_path: Path) -> None:
    """Tightening holds along the chain: the middle document's release binds the last."""
    write(tmp_path, "middle", HEAD + 'inherit = "baseline"\nrelease = "whole"\n')
    kept = policies.load(write(tmp_path, "kept", HEAD + 'inherit = "middle"\n'))
    assert kept.document.release is policies.Release.WHOLE
    with pytest.raises(PolicyError) as caught:
        policies.load(write(tmp_path, "last", HEAD + 'inherit = "middle"\nrelease = "stream"\n'))
    assert caught.value.path == "release"


def test_a_circle_of_parents_is_refused(tmp_path: Path) -> None:
    """Documents that inherit from each other do not load."""
    write(tmp_path, "left", HEAD + 'inherit = "right"\n')
    with pytest.raises(PolicyError) as caught:
        policies.load(write(tmp_path, "right", HEAD + 'inherit = "left"\n'))
    assert caught.value.path == "inherit"


def test_the_digest_names_the_meaning_not_the_file(tmp_path: Path) -> None:
    """Comments, order and written-out defaults leave the digest alone; a changed value does not."""
    plain = policies.load(write(tmp_path, "plain", STRICT))
    spelled = "# reasons\n" + STRICT + "client_may_choose = true\n[modes.ar.threshold]\nmost = 1\n"
    changed = policies.load(write(tmp_path, "changed", STRICT + "client_may_choose = false\n"))
    same = policies.load(write(tmp_path, "same", "# reasons\n" + STRICT + "client_may_choose = true\n"))
    widened = policies.load(write(tmp_path, "widened", spelled))
    assert len(plain.digest) == 32
    assert same.digest == plain.digest
    assert len({plain.digest, changed.digest, widened.digest}) == 3
    assert digest(plain.document) == plain.digest


def test_the_digest_is_stable_across_releases(tmp_path: Path) -> None:
    """A document already named in a log keeps its name: this digest may change only with the schema."""
    policy = policies.load(write(tmp_path, "acme", STRICT))
    assert policy.digest.hex() == "c38a3d7c3cca30eda34c3ad33329e546e5d2093d530bcafdf48c9d6e3541c6eb"
