"""Are the records of a sweep what its trainings gave? By hashes and arithmetic, by ranking again, by training again."""
