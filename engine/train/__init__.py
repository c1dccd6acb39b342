"""Training: the task grammar, the corpus made from it, and the joint trainer of the tiny checkpoint."""
