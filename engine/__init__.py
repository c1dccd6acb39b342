"""One model, one key-value cache, four ways to decode, and every intermediate step as a typed event."""
