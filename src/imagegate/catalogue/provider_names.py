"""What providers call themselves. Whoever adds one of its own is told its id."""

NAMES = {
    "azure_openai": "Azure OpenAI",
    "bfl": "Black Forest Labs",
    "fal": "fal",
    "google": "Google",
    "ideogram": "Ideogram",
    "openai": "OpenAI",
    "openai_compatible": "OpenAI-compatible",
    "openrouter": "OpenRouter",
    "recraft": "Recraft",
    "replicate": "Replicate",
    "sandbox": "Sandbox",
    "stability": "Stability AI",
    "together": "Together AI",
    "xai": "xAI",
}


def name_of(provider: str) -> str:
    """The name of a provider, by its id in the catalogue."""
    return NAMES.get(provider, provider)
