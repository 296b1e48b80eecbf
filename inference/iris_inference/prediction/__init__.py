"""The prediction service, and the feedback on its predictions."""
