"""One file per model; a model is found by the ``_target_`` of its YAML, so there is no registry."""
