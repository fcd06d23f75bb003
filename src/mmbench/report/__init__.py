"""Reports of a sweep, read from its records; facts about items come from the data set that the records prove."""
