"""Training of one model: from a factory to the best validation state."""
