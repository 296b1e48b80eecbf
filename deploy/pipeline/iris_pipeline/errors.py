class PipelineError(Exception):
    """What stops the pipeline before the release, in words for who started it: what is wrong, what to do about it."""
