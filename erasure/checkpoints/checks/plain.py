"""Whether a model is plain text-to-image, as far as its configs tell."""

from erasure.architectures.architecture import Architecture
from erasure.checkpoints.checks.quantised import refuse_quantised_config
from erasure.checkpoints.checks.setting_values import require_settings
from erasure.checkpoints.description import Description


def require_plain(description: Description, family: Architecture, where: str) -> tuple[str, ...]:
    """Refuse a model that cannot be given all it was trained with; `where` holds its configs.

    Returns:
        Notes on what its configs leave open.

    Raises:
        CheckpointError: its weights are quantised, a value is none of its setting, or the family's
            own checks refuse it.
    """
    for part in family.parts:
        config = description.components.get(part.component, {})  # an optional one may be missing
        refuse_quantised_config(config, f"{where}: {part.component}")
        require_settings(config, part.component, where)
    return family.check_configs(description, where)
