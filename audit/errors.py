"""Every error the audit room raises, as one small tree; each message says what a person should do next."""


class AuditError(Exception):
    """Root of the room: whatever goes wrong here can be caught by this one name."""


class MalformedData(AuditError):
    """Bytes that are not in the one permitted form (CBOR, header, record body, note, bundle)."""


class InvalidRecord(AuditError):
    """A record that its author may not write: a value out of range or of the wrong shape."""


class SealBroken(AuditError):
    """A sealed body does not open under this key, tenant and record id."""


class KeyUnavailable(AuditError):
    """A month key was destroyed, never existed here, or its file cannot be trusted."""


class SigningRefused(AuditError):
    """The signer was asked to contradict a checkpoint that it has already signed."""


class ProofInvalid(AuditError):
    """A Merkle proof does not connect the hashes it claims to connect."""


class NoteInvalid(AuditError):
    """A note or checkpoint is not validly signed by the expected key for the expected origin."""


class ExportRefused(AuditError):
    """A bundle cannot be written as asked."""


class QueueFull(AuditError):
    """The bounded queue of the writer is full; retry when records have been committed."""


class LogUnavailable(AuditError):
    """The log could not commit in time; nothing that depends on these records may be released."""
