"""Searches for the skip-tuning that suits a model, a solver and numbers of evaluations."""
