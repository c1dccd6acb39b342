"""A key for a demonstration or a benchmark: on record like every key, and revoked when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from audit.writer import SYSTEM
from gateway.administration import make_change
from gateway.database import Urls
from gateway.people.person import Account
from gateway.registry import ApiKeyText, Registry
from gateway.settings import Settings
from gateway.tenancy import key_made, key_revoked, new_key, tenant_made


@contextmanager
def guest(settings: Settings, urls: Urls, tenant: str, label: str) -> Iterator[ApiKeyText]:
    """A key of `tenant`, which is made if it is not there, for as long as the body runs. Raises RegistryError."""
    me, made = Account.mine(), new_key()
    with closing(Registry(urls.app)) as registry:
        if tenant not in registry.tenants():
            make_change(settings, urls, SYSTEM, me, tenant_made(tenant))
    make_change(settings, urls, tenant, me, key_made(made, tenant, label))
    try:
        yield made.text
    finally:
        make_change(settings, urls, tenant, me, key_revoked(made.id))
