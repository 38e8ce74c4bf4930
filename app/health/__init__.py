"""What the stack's services are: probed, judged, stored; never asked while someone waits for a page."""

from app.health.checking import check_services, probe_now, store_now, told
from app.health.recording import record
from app.health.service import beat, claim_due, deep_cycle, give_back, on_flip, sync_catalog, sync_current_catalog
from app.health.specs import catalog_problems

__all__ = [
    "beat",
    "catalog_problems",
    "check_services",
    "claim_due",
    "deep_cycle",
    "give_back",
    "on_flip",
    "probe_now",
    "record",
    "store_now",
    "sync_catalog",
    "sync_current_catalog",
    "told",
]
