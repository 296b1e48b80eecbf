class InstallError(Exception):
    """Stops an installation; the message tells the user what is wrong and what to do about it."""
