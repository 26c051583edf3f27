"""Stored results: what an experiment is, where its results lie, and how they are summarised."""
