"""What a login asks an owner to allow, in words that owners read; and what of it they left out. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from app.catalog import App
from app.tokens.provider import Traits

EVERYTHING = "*"
"""Reddit's word for all of them."""

_SEE, _PUBLISH, _COMMENTS = "see the profile", "publish posts", "read and answer comments"
_FIGURES, _MESSAGES, _PAGES = "read the figures of posts", "read and answer messages", "see which pages you manage"
_STAY = "stay connected, without a login every few hours"

# By the platforms' own lists of permissions; one that is not here is shown by its name.
_WORDS = {
    "instagram_business_basic": "see the profile and its posts",
    "instagram_business_content_publish": _PUBLISH,
    "instagram_business_manage_comments": _COMMENTS,
    "instagram_business_manage_insights": _FIGURES,
    "instagram_business_manage_messages": _MESSAGES,
    "instagram_basic": "see the profile and its posts",
    "instagram_content_publish": _PUBLISH,
    "instagram_manage_comments": _COMMENTS,
    "instagram_manage_insights": _FIGURES,
    "instagram_manage_messages": _MESSAGES,
    "threads_basic": "see the profile and its posts",
    "threads_content_publish": _PUBLISH,
    "threads_manage_replies": "answer and hide replies",
    "threads_read_replies": "read replies",
    "threads_manage_insights": _FIGURES,
    "pages_show_list": _PAGES,
    "pages_read_engagement": "read the posts of your pages, and what people do with them",
    "pages_read_user_content": "read what people write on your pages",
    "pages_manage_posts": "publish posts on your pages",
    "pages_manage_engagement": "answer comments on your pages",
    "pages_manage_metadata": "see and change the settings of your pages",
    "pages_messaging": _MESSAGES,
    "read_insights": "read the figures of your pages",
    "business_management": "see the businesses that your pages belong to",
    "public_profile": _SEE,
    "email": "see your e-mail address",
    "tweet.read": "read posts",
    "tweet.write": _PUBLISH,
    "users.read": _SEE,
    "media.write": "upload pictures and films",
    "offline.access": _STAY,
    "like.write": "like posts",
    "dm.read": "read messages",
    "dm.write": "answer messages",
    "user.info.basic": _SEE,
    "user.info.profile": "see the profile's texts and links",
    "user.info.stats": "see how many followers and likes there are",
    "video.list": "see your public films",
    "video.publish": "publish films and pictures",
    "video.upload": "put films into your drafts",
    "openid": "know that it is you",
    "profile": _SEE,
    "r_basicprofile": _SEE,
    "r_liteprofile": _SEE,
    "w_member_social": "publish posts in your name",
    "r_member_social": "read your posts",
    "w_organization_social": "publish posts of your organisation",
    "r_organization_social": "read the posts of your organisation",
    "rw_organization_admin": "see which organisations you manage, and their figures",
    "identity": _SEE,
    "submit": _PUBLISH,
    "read": "read posts and comments",
    "edit": "change and delete its own posts",
    "history": "see its earlier posts",
    "mysubreddits": "see which communities it belongs to",
    "flair": "choose the flair of posts",
    "privatemessages": _MESSAGES,
}


def wanted(app: App, traits: Traits) -> tuple[str, ...]:
    """What a login asks for: the app's list, else the platform's."""
    return app.scopes or traits.scopes


def missing(asked: Iterable[str], granted: Iterable[str]) -> tuple[str, ...]:
    """What was asked for and not granted; nothing where the platform does not say what it granted."""
    given = set(granted)
    if not given or EVERYTHING in given:
        return ()
    return tuple(scope for scope in asked if scope not in given)


def words(scopes: Iterable[str]) -> tuple[str, ...]:
    """Each permission once, as its owner understands it."""
    return tuple(dict.fromkeys(_WORDS.get(scope, scope) for scope in scopes))
