from contract.inference.models import exported
from contract.inference.serving import serve
from integration.inference.database import engine
from integration.inference.process import start_service

__all__ = ["engine", "exported", "serve", "start_service"]
