"""What a server has to stand; `./dev soak` runs it, tests/faults/test_soak.py a short form."""
