from support.inference.database import engine
from support.inference.models import exported
from support.inference.process import start_service
from support.inference.serving import serve

__all__ = ["engine", "exported", "serve", "start_service"]
