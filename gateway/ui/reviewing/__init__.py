"""Where held answers are read and decided: the queue, the review page with its player, and what a person does there."""
