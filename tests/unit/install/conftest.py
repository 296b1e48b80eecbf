from support.deploy.fixtures import kubectl

__all__ = ["kubectl"]
