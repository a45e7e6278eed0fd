"""The UNets of the EDM family in NumPy, float64: a second opinion on what the C++ networks compute.

Written from the papers (arXiv 2011.13456, 2105.05233, 2206.00364, 2303.01469) and the names in the
published checkpoints. It agrees with every fixture in tests/data/reference, which the published
networks computed, and makes fixtures of its own for what they leave out.
"""
