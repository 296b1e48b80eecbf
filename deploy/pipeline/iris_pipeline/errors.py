class PipelineError(Exception):
    """Stops the pipeline before the release; the message tells the user what is wrong and what to do about it."""
