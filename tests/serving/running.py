"""The server in a process of its own, as tests use it."""

from serving.process import PROJECT, Running
from serving.process import start_server as serve

__all__ = ["PROJECT", "Running", "serve"]
