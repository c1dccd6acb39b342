"""People: who they are, what they may do, how they prove it, and the sessions that remember the proof."""
