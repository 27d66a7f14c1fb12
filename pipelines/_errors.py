"""Known mistakes at the command line: told in one line on stderr, exit code 2."""


class CommandError(Exception):
    """What was asked can't be done: says what was needed, what was received, what to do."""
