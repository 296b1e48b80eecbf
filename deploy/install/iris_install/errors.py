class InstallError(Exception):
    """What stops an installation, in words for who started it: what is wrong and what to do about it."""
