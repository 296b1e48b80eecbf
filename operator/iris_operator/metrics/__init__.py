"""The operator's metrics, and the port that serves them."""
