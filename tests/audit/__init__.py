"""Whether an audit is fooled."""
