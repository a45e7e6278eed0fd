"""The one error of these tools."""


class QualityError(Exception):
    """Something a user can put right; says what is wrong and what would be valid."""
