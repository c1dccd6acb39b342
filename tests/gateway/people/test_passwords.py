"""Passwords: one spelling, plain rules, argon2id, and the same work whatever is asked."""

from __future__ import annotations

import unicodedata

import pytest
from argon2 import extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY
from hypothesis import given
from hypothesis import strategies as st

from gateway.people.passwords import LEAST, MOST, Passwords, check_new, normalised
from gateway.registry import RegistryError
from tests.gateway.planted import CHEAP

ACCENTED = st.text(st.sampled_from("aeiouncAEIOU\u0301\u0308\u0303\u0327éüñçǘ각가가힣ﬁ\U0001d4b3"), min_size=1, max_size=300)


@given(ACCENTED | st.text(max_size=400))
def test_composition_does_not_matter(text: str) -> None:
    """However a keyboard composes it, a password has one spelling, and that is its own spelling."""
    found = {normalised(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert len(found) == 1
    (data,) = found
    if data is not None:
        assert normalised(data.decode()) == data and LEAST <= len(data.decode()) <= MOST


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("a" * 11, False), ("a" * 12, True), ("a" * 256, True), ("a" * 257, False), ("e\u0301" * 256, True),
        (" " * 12, True), ("e\u0301" * 11, False), ("a" * 12 + "\ud800", False), ("a" * 10_000_000, False), ("", False),
        ("pass\0word\0pass", True), ("密码密码密码密码密码密码", True),
    ],
)  # fmt: skip
def test_only_length_decides(text: str, possible: bool) -> None:
    """12 to 256 composed characters of any kind make a password; what cannot be UTF-8 does not, and no size is a burden."""
    assert (normalised(text) is not None) is possible


def test_a_name_is_no_password() -> None:
    """The user's name is refused in any case and with spaces around it; a longer text that holds it is not."""
    for text in ("adalovelace-1815", "AdaLovelace-1815", "  adalovelace-1815 "):
        with pytest.raises(RegistryError, match="not the user's name"):
            check_new(text, "adalovelace-1815")
    assert check_new("adalovelace-1815!", "adalovelace-1815") == b"adalovelace-1815!"
    with pytest.raises(RegistryError, match="12 to 256 characters"):
        check_new("short", "ada")


def test_hashes_are_argon2id_of_the_recommended_cost() -> None:
    """A hash names argon2id, 64 MiB, 3 passes and 4 lanes, has a salt of its own, and matches its password only."""
    passwords = Passwords()
    hashed = passwords.hash(b"correct horse battery")
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$") and extract_parameters(hashed) == RFC_9106_LOW_MEMORY
    assert passwords.match(hashed, "correct horse battery") and not passwords.match(hashed, "correct horse batterz")
    assert not passwords.outdated(hashed) and passwords.outdated(CHEAP.hash(b"correct horse battery"))
    assert CHEAP.hash(b"correct horse battery") != CHEAP.hash(b"correct horse battery")


def test_nobodys_hash_costs_what_any_hash_costs() -> None:
    """What stands in for the hash of nobody has the parameters of all others, so that the same work is done."""
    for passwords, parameters in ((Passwords(), RFC_9106_LOW_MEMORY), (CHEAP, extract_parameters(CHEAP.hash(b"x" * 12)))):
        assert extract_parameters(passwords._nobodys) == parameters
        assert not passwords.outdated(passwords._nobodys)


@pytest.mark.parametrize("text", ["", "short", "a" * 12, "\ud800" * 12, "a" * 100_000])
def test_no_password_opens_nobody(text: str) -> None:
    """Where there is no user, no text is right; nor is a text that can be no password right for a user."""
    assert not CHEAP.match(None, text)
    assert CHEAP.match(CHEAP.hash(b"another password"), text) is False
