"""Client dialects: each decodes its own wire form to `ChatRequest` and encodes the answer back."""
