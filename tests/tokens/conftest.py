"""What tests of tokens share."""

from tests.tokens.scene import scene

__all__ = ["scene"]
