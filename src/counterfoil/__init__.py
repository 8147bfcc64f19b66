"""Counterfoil keeps a broker's CRM and its trading platforms in step."""

from importlib.metadata import version

__version__ = version("counterfoil")
