"""smm-admin: the operations system of a social-media-marketing stack."""

__version__ = "0.1.0"
