"""Budgets: what a request may take is reserved before it runs, exactly across processes, and settled by what it consumed."""
