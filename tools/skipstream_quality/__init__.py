"""Measures what the service makes: exact decoding into parts, Fréchet distances, studies."""
