from contract.inference.models import exported

__all__ = ["exported"]
