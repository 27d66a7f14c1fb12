"""Known mistakes in a user's data: each is told in one line, never as a stack trace."""


class DataError(Exception):
    """A file or folder that can't be used: says what was needed, what was received, what to do."""


class DatasetNotFoundError(DataError):
    """A data set that is not where it was looked for: says how to get it."""
