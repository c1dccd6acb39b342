"""`palimpsest bench`: what it measures, how it races, what it prints."""
