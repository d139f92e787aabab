"""The infrastructure check: is the candidate servable, fast enough, and does it answer what was evaluated?"""

from pipeline.components.infra_check.component import InfraCheck

__all__ = ["InfraCheck"]
