"""A simulated OMTrader platform with true books, for trying things out and for every test that needs a platform.

It imports nothing of the client it tests, so that the two cannot share a mistake.
"""

from counterfoil.sandbox.faults import FaultError
from counterfoil.sandbox.server import Sandbox, SandboxOptions, serve

__all__ = ["FaultError", "Sandbox", "SandboxOptions", "serve"]
