"""Trains the networks that Skipstream serves; docs/training.md."""
