class LocalClusterError(Exception):
    """An error for the user; its message is shown without a traceback."""


class CommandError(LocalClusterError):
    """A program ended with an error; the message names it and quotes the end of its output."""
