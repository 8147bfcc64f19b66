"""Simulated trading platforms with true books, for trying things out and for every test that needs a platform.

They import nothing of the client they test, so that the two cannot share a mistake.
"""

from counterfoil.sandbox.faults import FaultError
from counterfoil.sandbox.options import SandboxOptions
from counterfoil.sandbox.server import Sandbox, serve

__all__ = ["FaultError", "Sandbox", "SandboxOptions", "serve"]
