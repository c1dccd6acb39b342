"""Laws of the key folder: durable month keys, made once, found again, and gone for good once destroyed."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from audit.durable import write_durably
from audit.errors import InvalidRecord, KeyUnavailable
from audit.keys import KeyStore
from audit.signer import Signer

NOVEMBER = 1_795_000_000_000_000
MONTH = 31 * 86_400_000_000
DECEMBER = NOVEMBER + MONTH
MONTHS = 8


def test_a_month_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    """The same tenant, subject and month have one key, also after a restart and by its id."""
    made = KeyStore(tmp_path).month_key("acme", "key-1", NOVEMBER)
    again = KeyStore(tmp_path)
    assert again.month_key("acme", "key-1", NOVEMBER + 1) == made
    assert again.find(made.key_id) == made
    assert len(list((tmp_path / "months").glob("*.json"))) == 1


def test_tenant_subject_and_month_each_have_their_own_key(tmp_path: Path) -> None:
    """No two of them share a secret, and a key id does not name its subject."""
    store = KeyStore(tmp_path)
    keys = [
        store.month_key("acme", "key-1", NOVEMBER), store.month_key("acme", "key-2", NOVEMBER),
        store.month_key("other", "key-1", NOVEMBER), store.month_key("acme", "key-1", DECEMBER),
    ]  # fmt: skip
    assert len({key.secret for key in keys}) == len({key.key_id for key in keys}) == 4
    assert not any("key-1" in key.key_id or "acme" in key.key_id for key in keys)
    with pytest.raises(InvalidRecord):
        store.month_key("../up", "key-1", NOVEMBER)


def test_key_files_are_private(tmp_path: Path) -> None:
    """Secrets are readable by their owner alone, and no temporary file stays behind."""
    KeyStore(tmp_path / "keys").month_key("acme", "key-1", NOVEMBER)
    Signer(tmp_path / "keys", "palimpsest.test/acme")
    files = [path for path in (tmp_path / "keys").rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    assert not any(path.suffix == ".tmp" for path in files)


def test_a_new_key_costs_no_look_at_the_others(tmp_path: Path) -> None:
    """For a new subject or month a store reads the files that it does not know, no other; of two of a name the last holds."""
    store = KeyStore(tmp_path)
    first = store.month_key("acme", "key-1", NOVEMBER)
    second = KeyStore(tmp_path).month_key("acme", "key-2", NOVEMBER)
    write_durably(tmp_path / "months" / f"{first.key_id}.json", b"damaged since")
    third = store.month_key("acme", "key-3", NOVEMBER)
    assert store.month_key("acme", "key-2", NOVEMBER) == second
    later, whole = f"{third.key_id}-later", (tmp_path / "months" / f"{third.key_id}.json").read_bytes()
    write_durably(tmp_path / "months" / f"{later}.json", whole)
    for subject in ("key-4", "key-5"):
        store.month_key("acme", subject, NOVEMBER)
        assert store.keys_of("acme", "key-3") == (later,)
    assert store.keys_of("acme", "key-1") == (first.key_id,)


def test_a_destroyed_key_stays_destroyed(tmp_path: Path) -> None:
    """A destroyed key is not found by any store, and one that had used it makes another for the next record."""
    store = KeyStore(tmp_path)
    key, other = (store.month_key("acme", subject, NOVEMBER) for subject in ("key-1", "key-2"))
    assert KeyStore(tmp_path).destroy([key.key_id, "../../etc/passwd"]) == 1
    assert KeyStore(tmp_path).destroy([key.key_id]) == 0
    for missing in (key.key_id, "../../etc/passwd"):
        with pytest.raises(KeyUnavailable):
            store.find(missing)
    assert store.month_key("acme", "key-1", NOVEMBER) != key
    assert store.month_key("acme", "key-2", NOVEMBER) == other == store.find(other.key_id)


def test_a_destroyed_key_leaves_no_byte_behind(tmp_path: Path) -> None:
    """Destroying removes the file, overwrites what it held, and removes what an earlier, killed call had left half way."""
    store = KeyStore(tmp_path)
    key, half = (store.month_key("acme", subject, NOVEMBER) for subject in ("key-1", "key-2"))
    folder = tmp_path / "months"
    held = folder / f"{key.key_id}.json"
    with held.open("rb") as still_open:
        (folder / f"{half.key_id}.json").rename(folder / f"{half.key_id}.gone")
        assert KeyStore(tmp_path).destroy([key.key_id]) == 1
        assert set(still_open.read()) == {0}
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_the_keys_of_a_subject_are_listed_over_months(tmp_path: Path) -> None:
    """keys_of names every month key of one tenant's subject, ascending, and no other."""
    store = KeyStore(tmp_path)
    mine = [store.month_key("acme", "key-1", ts).key_id for ts in (DECEMBER, NOVEMBER)]
    for tenant, subject in (("acme", "key-2"), ("other", "key-1")):
        store.month_key(tenant, subject, NOVEMBER)
    assert KeyStore(tmp_path).keys_of("acme", "key-1") == tuple(sorted(mine))
    assert KeyStore(tmp_path).keys_of("acme", "nobody") == ()


def test_a_folder_that_is_away_has_destroyed_nothing(tmp_path: Path) -> None:
    """While the keys folder is gone as a whole, a store goes on with the keys it holds and makes no others."""
    store = KeyStore(tmp_path / "keys")
    key = store.month_key("acme", "key-1", NOVEMBER)
    (tmp_path / "keys").rename(tmp_path / "aside")
    assert store.month_key("acme", "key-1", NOVEMBER) == key
    with pytest.raises(OSError, match="No such file"):
        store.month_key("acme", "key-2", NOVEMBER)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"secret":"AAAA","tenant":"a","subject":"b","month":"c"}'])
def test_a_damaged_key_file_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    """A key file that cannot be trusted stops the store; a fresh key would hide the loss."""
    key = KeyStore(tmp_path).month_key("acme", "key-1", NOVEMBER)
    (tmp_path / "months" / f"{key.key_id}.json").write_bytes(content)
    with pytest.raises(KeyUnavailable):
        KeyStore(tmp_path).month_key("acme", "key-1", NOVEMBER)


class _Together:
    """Where a process of the pool waits for the others."""

    ready: Barrier


def _stand_ready(ready: Barrier) -> None:
    _Together.ready = ready


def _make_keys(folder: Path) -> list[str]:
    made = []
    for number in range(MONTHS):
        _Together.ready.wait(60)
        made.append(KeyStore(folder).month_key("acme", "key-1", NOVEMBER + number * MONTH).key_id)
    return made


def test_processes_agree_on_one_key(tmp_path: Path) -> None:
    """Processes that need a month's key at the same moment make one between them."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(3, _stand_ready, (context.Barrier(3),)) as pool:
        first, *others = pool.map(_make_keys, [tmp_path] * 3, chunksize=1)
    assert len(set(first)) == MONTHS and others == [first, first]


def test_durable_writes_replace_whole_files(tmp_path: Path) -> None:
    """A file is replaced at once, and a failed write leaves the old one and no litter."""
    path = tmp_path / "file"
    write_durably(path, b"old")
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_durably(path, b"x")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
