"""/api: what people and their programs ask of approvals, generations and figures, as JSON."""
