"""Files of other people, read into a source: interactions, items and features with raw ids."""
