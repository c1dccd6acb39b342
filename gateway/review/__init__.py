"""A generation as a reviewer sees it: pure functions from the records of one request to what a page shows of them."""
