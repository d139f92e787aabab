"""Which versions of which models serve: configuration, polling, loading, leases, unloading."""

from serving.manager.manager import ModelManager
from serving.manager.settings import ManagerSettings

__all__ = ["ManagerSettings", "ModelManager"]
