"""smm-admin: the operations system of a social-media-marketing stack."""

import gc

# Importing what a process is made of, some hundred thousand objects that all stay, costs a fifth less when they are not
# looked through for garbage again and again. Once all are there, processes freeze them, see `gc.freeze`.
gc.set_threshold(20_000, 10, 10)

__version__ = "0.1.0"
