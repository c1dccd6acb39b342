"""What the logs say of generations and approvals, in tables that can be searched."""
