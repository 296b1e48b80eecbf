"""From a checkout to a release: images, their contents as a list, the registry, the release and what became of it."""
