"""Load tests of a server; `./dev soak` runs them, tests/faults/test_soak.py a short form."""
