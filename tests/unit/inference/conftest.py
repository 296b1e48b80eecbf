from support.inference.models import exported

__all__ = ["exported"]
