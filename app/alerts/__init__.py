"""Alerts: episodes of trouble, grouped, muted or told, escalated until somebody answers; every decision explained."""
