"""The append-only log and everything that is needed to verify it offline.

Importing this package imports nothing else: the verifier runs with the standard library, `cryptography` and
`cbor2` alone, and only `audit.trace` touches numpy, only `audit.store` a database.
"""
