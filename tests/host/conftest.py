from support.settings import make_settings

__all__ = ["make_settings"]
