"""The server in a process of its own, as tests use it."""

from serving.process import Running
from serving.process import start_server as serve

__all__ = ["Running", "serve"]
