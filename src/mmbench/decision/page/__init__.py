"""The decision as pages for people: one that answers, and a checklist to go through before images are introduced."""
