"""Real coding clients, headless, against a real gateway: what they send, what they make of the answer, what is on record."""
