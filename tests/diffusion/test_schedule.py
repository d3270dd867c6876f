"""The forward process, against diffusers' own schedulers."""

import inspect
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.utils import is_torchsde_available
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import seeded

from erasure.checkpoints.facts.scheduler import CLASSES, check_scheduler_config, noise_schedule_of
from erasure.checkpoints.facts.scheduler_values import SETTINGS
from erasure.diffusion.schedule import NoiseSchedule
from erasure.errors import CheckpointError

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SD = {**BETAS, "_class_name": "DDPMScheduler"}
CONFIGS = {
    "sd": BETAS,
    "silent": {},
    "linear": {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
    "cosine": {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 100},
    "trained": {"trained_betas": [0.1, 0.2, 0.4, 0.9], "num_train_timesteps": 4},
    "zero snr": {**BETAS, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    "zero snr, cosine": {
        "beta_schedule": "squaredcos_cap_v2",
        "rescale_betas_zero_snr": True,
        "prediction_type": "v_prediction",
    },
}
SHAPE = (8, 4, 3, 3)


def draw(steps: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x_0, noise = torch.randn(2, *SHAPE, generator=seeded())
    t = torch.randint(steps, SHAPE[:1], generator=seeded(1))
    t[0], t[1] = 0, steps - 1
    return x_0, noise, t


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_noising_equals_the_scheduler_of_diffusers(config: dict[str, object]) -> None:
    # The release's `q_sample` is the scheduler's `add_noise`, for the published betas and others.
    scheduler = DDPMScheduler(**config)
    x_0, noise, t = draw(scheduler.config.num_train_timesteps)
    schedule = noise_schedule_of({**config, "_class_name": "DDPMScheduler"})
    assert torch.equal(schedule.alphas_cumprod, scheduler.alphas_cumprod)
    ours = schedule.add_noise(x_0, noise, t)
    torch.testing.assert_close(ours, scheduler.add_noise(x_0, noise, t), rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_velocity_target_equals_that_of_diffusers(config: dict[str, object]) -> None:
    scheduler = DDPMScheduler(**config)
    x_0, noise, t = draw(scheduler.config.num_train_timesteps)
    velocity = {"_class_name": "DDPMScheduler", **config, "prediction_type": "v_prediction"}
    ours = noise_schedule_of(velocity).target(x_0, noise, t)
    torch.testing.assert_close(ours, scheduler.get_velocity(x_0, noise, t), rtol=0, atol=1e-6)


def test_both_follow_their_formulas() -> None:
    # abar = 0.64: signal 0.8, spread 0.6.
    level, t = torch.tensor([0.64]), torch.zeros(1, dtype=torch.int64)
    x_0, noise = torch.tensor([[3.0]]), torch.tensor([[-2.0]])
    plain, velocity = NoiseSchedule(level), NoiseSchedule(level, "v_prediction")
    torch.testing.assert_close(plain.add_noise(x_0, noise, t), torch.tensor([[2.4 - 1.2]]))
    torch.testing.assert_close(velocity.target(x_0, noise, t), torch.tensor([[-1.6 - 1.8]]))
    assert plain.target(x_0, noise, t) is noise


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_right_prediction_is_split_into_the_picture_and_the_noise(prediction: Any) -> None:  # noqa: ANN401
    schedule = NoiseSchedule(torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64), prediction)
    x_0, noise = torch.randn(2, 3, 4, 2, 2, generator=seeded(), dtype=torch.float64)
    t = torch.arange(3)
    x_t, target = schedule.add_noise(x_0, noise, t), schedule.target(x_0, noise, t)
    torch.testing.assert_close(schedule.split(x_t, target, t), (x_0, noise))


def test_keys_of_other_schedulers_are_passed_over() -> None:
    config = {**SD, "_class_name": "DDIMScheduler", "steps_offset": 1, "set_alpha_to_one": False}
    assert torch.equal(
        noise_schedule_of(config).alphas_cumprod, DDPMScheduler(**BETAS).alphas_cumprod.float()
    )


def test_noise_follows_the_type_of_the_latents() -> None:
    x_0, noise, t = draw(1000)
    schedule = noise_schedule_of({**SD, "prediction_type": "v_prediction"})
    assert schedule.add_noise(x_0.double(), noise.double(), t).dtype == torch.float64
    assert schedule.target(x_0.bfloat16(), noise.bfloat16(), t).dtype == torch.bfloat16


def test_a_model_that_predicts_pictures_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"prediction_type is 'sample'.*can be edited"):
        noise_schedule_of({**SD, "prediction_type": "sample"})


# Classes

# LMS, Heun and others make numpy arrays of tensors in a way that newer versions of numpy warn of.
old_array = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The classes themselves; one wants torchsde to be there, though only its step uses it."""
    if not is_torchsde_available():
        monkeypatch.setitem(sys.modules, "torchsde", ModuleType("torchsde"))
    from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler

    return {name: getattr(diffusers, name) for name in CLASSES} | {
        "DPMSolverSDEScheduler": DPMSolverSDEScheduler
    }


def settings_of(kind: type) -> dict[str, object]:
    """Setting -> default, as the class itself has it, whatever it needs to be built."""
    signature = inspect.signature(inspect.unwrap(kind.__init__))
    return {n: p.default for n, p in signature.parameters.items() if n != "self"}


@pytest.mark.parametrize("name", CLASSES)
def test_the_defaults_of_a_class_are_those_of_diffusers(name: str, kinds: dict[str, Any]) -> None:
    own = settings_of(kinds[name])
    assert {k: own[k] for k in CLASSES[name].defaults} == CLASSES[name].defaults
    assert ("rescale_betas_zero_snr" in own) == CLASSES[name].all_noise
    assert set(own) <= set(SETTINGS)


@pytest.mark.crossed
@old_array
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("config", [{}, BETAS, CONFIGS["cosine"], CONFIGS["trained"]])
def test_every_class_noises_as_it_does_in_diffusers(
    name: str, config: dict[str, object], kinds: dict[str, Any]
) -> None:
    theirs = kinds[name](**config)
    ours = noise_schedule_of({**config, "_class_name": name})
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)


@old_array
@pytest.mark.parametrize("name", [n for n, one in CLASSES.items() if one.all_noise])
def test_every_class_rescales_as_it_does_in_diffusers(name: str, kinds: dict[str, Any]) -> None:
    config = CONFIGS["zero snr"]
    theirs = kinds[name](**config).alphas_cumprod
    ours = noise_schedule_of({**config, "_class_name": name}).alphas_cumprod
    assert torch.equal(ours[:-1], theirs[:-1])
    # Solvers that divide by it lift the last one to 2**-24; in training it is nought.
    assert float(ours[-1]) == 0
    assert float(theirs[-1]) in (0, 2**-24)


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in dir(diffusers)
        if name.endswith("Scheduler") and not name.startswith("Flax") and name not in CLASSES
    ),
)
def test_every_other_class_of_diffusers_is_refused_by_name(name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"is '{name}', which .* can be treated"):
        noise_schedule_of({**BETAS, "_class_name": name, "num_train_timesteps": 1000})


def test_a_class_is_named_by_the_index_or_by_the_config() -> None:
    index = {"scheduler": ["diffusers", "HeunDiscreteScheduler"]}
    checked = check_scheduler_config({"beta_schedule": "linear"}, "sd", index)
    assert checked.config["beta_end"] == 0.012
    assert checked.kind == "HeunDiscreteScheduler"
    assert checked.assumed == ("num_train_timesteps", "beta_start", "beta_end", "prediction_type")
    edm = {"scheduler": ["diffusers", "EDMEulerScheduler"]}
    for config, other in (
        (SD, edm),
        ({**SD, "_class_name": "EDMEulerScheduler"}, index),
        ({**SD, "_class_name": ["DDIMScheduler"]}, index),
    ):
        with pytest.raises(CheckpointError, match="can be treated"):
            check_scheduler_config(config, "sd", other)
    with pytest.raises(CheckpointError, match="does not say of which class its scheduler is"):
        noise_schedule_of(BETAS)


def test_settings_of_no_class_are_noted() -> None:
    config = {**SD, "_diffusers_version": "0.38.0", "skip_prk_steps": True, "my_setting": 1}
    assert check_scheduler_config(config, "sd").unknown == ("my_setting",)


# Values

BAD_VALUES: dict[str, tuple[dict[str, object], str]] = {
    "unknown schedule": ({"beta_schedule": "sigmoid"}, "beta_schedule is 'sigmoid'; linear,"),
    "no word": ({"beta_schedule": 3}, "beta_schedule is 3; it must be a word"),
    "null": ({"beta_start": None}, "beta_start is None; it must be a finite number"),
    "text": ({"beta_end": "0.02"}, "beta_end is '0.02'; it must be"),
    "nan": ({"beta_end": float("nan")}, "beta_end is nan"),
    "infinite": ({"beta_end": float("inf")}, "beta_end is inf"),
    "no float holds it": ({"beta_end": 10**400}, r"beta_end is 10+\.\.\.; it must be"),
    "negative": ({"beta_start": -0.1}, "betas from -0.1 to 0.012; both must be between 0 and 1"),
    "too small": ({"beta_start": 1e-30, "beta_end": 1e-30}, "are no noise schedule"),
    "huge": ({"num_train_timesteps": 10**9}, "num_train_timesteps is 1000000000; .* 10,000"),
    "one step": ({"num_train_timesteps": 1}, "num_train_timesteps is 1"),
    "half a step": ({"num_train_timesteps": 10.5}, "num_train_timesteps is 10.5"),
    "true": ({"num_train_timesteps": True}, "num_train_timesteps is True"),
    "too few betas": ({"trained_betas": [0.1, 0.2]}, "2 trained_betas, but num_train_timesteps"),
    "no betas": ({"trained_betas": "x"}, "trained_betas is 'x'; it must be a list"),
    "wild betas": ({"trained_betas": [2.0] * 1000}, r"trained_betas.* are no noise schedule"),
    "nested betas": ({"trained_betas": [[0.1]] * 1000}, "trained_betas is"),
    "no switch": ({"rescale_betas_zero_snr": "yes"}, "it must be true or false"),
    "sigma data": ({"sigma_data": 0.5}, "sigma_data 0.5, which is the continuous levels of EDM"),
    "flow": ({"use_flow_sigmas": True}, "use_flow_sigmas True, which is flow matching"),
    "shift": ({"shift": 3.0}, "shift 3.0, which is flow matching"),
    "continuous": ({"timestep_type": "continuous"}, "timestep_type 'continuous'"),
    "old name": ({"predict_epsilon": False}, "its model predicts pictures"),
    "flow prediction": ({"prediction_type": "flow_prediction"}, "is 'flow_prediction'"),
    "from nothing": ({"rescale_betas_zero_snr": True}, "'epsilon', which exclude each other"),
    "passed over": (
        {
            "rescale_betas_zero_snr": True,
            "prediction_type": "v_prediction",
            "_class_name": "PNDMScheduler",
        },
        "diffusers passes over; give the class DDIMScheduler",
    ),
}


@pytest.mark.parametrize(("change", "says"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_value_that_is_none_is_one_sentence(change: dict[str, object], says: str) -> None:
    with pytest.raises(CheckpointError, match=says) as caught:
        noise_schedule_of({**SD, **change})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(
    st.dictionaries(
        st.sampled_from([*SETTINGS, "_class_name", "sigma_data", "other"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.sampled_from([*CLASSES, "linear", "trailing", "v_prediction", ""])
        | st.lists(st.floats() | st.text(max_size=2), max_size=3),
        max_size=4,
    )
)
def test_any_values_give_a_schedule_or_one_sentence(change: dict[str, object]) -> None:
    levels = torch.empty(0)
    with suppress(CheckpointError):
        levels = noise_schedule_of({**SD, **change}).alphas_cumprod
    assert levels.isfinite().all()
    assert (levels.diff() <= 0).all()


def test_shares_of_the_way_go_from_the_first_time_to_the_last() -> None:
    schedule = NoiseSchedule(torch.tensor([0.9, 0.7, 0.5, 0.3, 0.1]))
    assert [schedule.at(share) for share in (0.0, 0.25, 0.6, 1.0)] == [0, 1, 2, 4]
