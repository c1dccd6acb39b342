"""What every route of this gateway takes and gives, as OpenAPI 3.1 has it. Pages for browsers are no part of it."""
