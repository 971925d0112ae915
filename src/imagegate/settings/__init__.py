"""Every setting once, with its unit in its name."""

from imagegate.settings.loading import load_settings
from imagegate.settings.providers import (
    PREFIX,
    PROVIDER_VARIABLE,
    ProviderSettings,
    check_keys,
    read_providers,
)
from imagegate.settings.settings import RoutingPolicy, Settings, default_data_dir

__all__ = [
    "PREFIX",
    "PROVIDER_VARIABLE",
    "ProviderSettings",
    "RoutingPolicy",
    "Settings",
    "check_keys",
    "default_data_dir",
    "load_settings",
    "read_providers",
]
