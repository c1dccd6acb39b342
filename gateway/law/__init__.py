"""The law at work: which policy judges a request, what the engine and the log are told of it, and how it changes."""
