"""What a reason means, in words for pages and commands. Pure."""

from __future__ import annotations

_WORDS = {
    "access_denied": "the owner has not allowed what was asked for",
    "access_refused": "the platform refuses the token",
    "account_limited": "the platform wants fewer questions about this account",
    "adapter_failed": "our own program for this platform failed",
    "answer_lost": "the platform's answer got lost, and with it the new token",
    "app_incomplete": "the app lacks its id or secret",
    "app_missing": "its app is not configured",
    "app_refused": "the platform refuses the app",
    "app_removed": "the owner removed the app",
    "cancelled": "the owner broke off the login",
    "checkpoint": "the platform wants the owner to confirm something",
    "code_refused": "the platform did not take the login's code",
    "damaged": "what is stored does not open",
    "expired": "the token has expired",
    "grant_refused": "the platform refuses the refresh token",
    "invalid": "the platform calls the token invalid",
    "key_missing": "the encryption key is missing",
    "login_expired": "the login took too long",
    "login_failed": "the login failed",
    "lost_in_crash": "the new token was lost in a crash",
    "misconfigured": "something is not set up on our side",
    "missing_scopes": "the owner left out a permission",
    "no_answer": "the platform did not answer",
    "no_answers": "the platform answers nobody",
    "not_extended": "the new token ends no later",
    "other_browser": "another browser began the login",
    "password_changed": "the owner changed the password",
    "permission_lost": "a permission was taken back",
    "rate_limited": "the platform wants fewer questions",
    "redirect_refused": "the platform refuses the address to come back to",
    "revoked": "the platform has withdrawn the token",
    "scope_missing": "a permission is missing",
    "too_young": "the token is too young to be refreshed",
    "unavailable": "the platform is in trouble",
    "unconfirmed": "the owner has to confirm the account at the platform",
    "undocumented": "the platform's answer is not documented",
    "unreachable": "the platform cannot be reached",
    "unreadable": "the platform's answer cannot be read",
    "unreadable_answer": "the platform's answer cannot be read",
    "wrong_account": "the owner logged in to another account",
}


def words(reason: str) -> str:
    """One that is not known is told as it is: `some_reason` is "some reason"."""
    return _WORDS.get(reason) or (reason if " " in reason else reason.replace("_", " "))
