"""Images to train on and to measure against, as NumPy arrays; nothing here needs PyTorch."""
