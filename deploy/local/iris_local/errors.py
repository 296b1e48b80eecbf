class LocalClusterError(Exception):
    """Something that the person at the terminal has to know; its text is shown without a traceback."""


class CommandError(LocalClusterError):
    """A program that was started ended with an error; the text names it and quotes its last words."""
