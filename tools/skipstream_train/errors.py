"""Errors that a user can mend."""


class TrainError(Exception):
    """A configuration, data or file that cannot be used; the message says which and why."""
