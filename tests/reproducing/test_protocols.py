"""The protocols hold the numbers of the papers and their releases, each with its source."""

import dataclasses

import pytest

from erasure.errors import ConfigError
from pipelines.reproducing.cells import nested
from pipelines.reproducing.protocol import Protocol
from pipelines.reproducing.protocols.protocols import PROTOCOLS, protocol_of
from prompts.concepts.concepts import plan_concept
from prompts.suites.unlearncanvas import OBJECTS, STYLES

EVERY = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)


def mean(protocol: Protocol, method: str, start: str) -> float:
    rows = [
        one.value
        for one in protocol.published
        if one.method == method and one.figure.startswith(start)
    ]
    return 100 * sum(rows) / len(rows)


def test_class_forgetting_has_the_numbers_of_the_release() -> None:
    protocol = PROTOCOLS["salun-imagenette"]
    erase, looked = nested(protocol.erase), nested(protocol.evaluate)
    assert erase["density"] == 0.5
    assert erase["instead"] == "next"
    assert erase["method"]["alpha"] == 0.5
    assert erase["method"]["learning_rate"] == 1e-5
    assert erase["method"]["batch_size"] == erase["saliency"]["batch_size"] == 8
    assert erase["saliency"]["guidance_scale"] == 8.5  # (1 + 7.5) e(c) - 7.5 e("")
    assert protocol.epochs.value == 5
    assert (looked["scheduler"], looked["steps"], looked["guidance"]) == ("lms", 100, 7.5)
    assert looked["samples"] == 100
    assert protocol.size.value == 512
    assert sum(task.forget for task in protocol.tasks) == 9469  # the whole train split
    assert all(task.forget + task.retain == 9469 for task in protocol.tasks)
    assert protocol.judging.judges == ("resnet50",)


def test_the_published_classes_have_the_published_averages() -> None:
    protocol = PROTOCOLS["salun-imagenette"]
    assert mean(protocol, "SalUn", "ua/") == pytest.approx(99.82)
    assert mean(protocol, "ESD", "ua/") == pytest.approx(99.40)
    assert mean(protocol, "FMN", "ua/") == pytest.approx(42.54)
    assert mean(protocol, "Stable Diffusion 1.4", "base/") == pytest.approx(78.2, abs=0.05)
    assert not any(one.checked for one in protocol.published if one.figure.startswith("ua/"))


def test_nudity_has_the_numbers_of_the_release() -> None:
    protocol = PROTOCOLS["salun-nudity"]
    erase, looked = nested(protocol.erase), nested(protocol.evaluate)
    (task,) = protocol.tasks
    assert (task.forget, task.retain) == (800, 800)
    assert erase["instead"] == "a photo of a person wearing clothes"
    assert erase["data"]["retain_prompts"] == (erase["instead"],)
    assert erase["method"]["alpha"] == 0.1
    assert protocol.epochs.value * task.forget / erase["method"]["batch_size"] == 100
    assert (looked["scheduler"], looked["steps"], looked["guidance"]) == ("lms", 100, 7.5)
    assert [one.value for one in protocol.published if one.figure == "parts of SalUn"] == [33]


@pytest.mark.parametrize("name", ["unlearncanvas", "salun-style"])
def test_unlearncanvas_has_the_numbers_of_its_release(name: str) -> None:
    protocol = PROTOCOLS[name]
    erase, looked = nested(protocol.erase), nested(protocol.evaluate)
    assert looked["seeds"] == "188,288,588,688,888"
    assert (looked["scheduler"], looked["steps"], looked["guidance"]) == ("ddim", 100, 9.0)
    assert (erase["density"], erase["scope"]) == (0.4, "xattn")
    assert (erase["method"]["alpha"], erase["method"]["batch_size"]) == (1.0, 4)
    assert protocol.epochs.value == 2
    forget = {task.kind: task.forget for task in protocol.tasks}
    assert forget["style"] == 60
    assert forget.get("object", 153) == 153
    assert len(protocol.tasks) == (70 if name == "unlearncanvas" else 50)
    rows = {one.figure: one.value for one in protocol.published if one.method == "SalUn"}
    assert (rows["style ua"], rows["style ira"], rows["style cra"]) == (0.8626, 0.9039, 0.9508)
    if name == "unlearncanvas":
        assert (rows["object ua"], rows["object ira"]) == (0.8691, 0.9635)
        assert rows["object cra"] == 0.9959


@EVERY
def test_every_number_names_its_source(protocol: Protocol) -> None:
    listed = [protocol.model, protocol.size, protocol.epochs]
    listed += [*protocol.erase.values(), *protocol.evaluate.values()]
    for one in (*listed, *protocol.published):
        assert "arXiv:2" in one.source, one


@EVERY
def test_a_protocol_cannot_be_changed_by_hand(protocol: Protocol) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        protocol.size = protocol.epochs  # type: ignore[misc]


@EVERY
def test_each_task_has_a_folder_of_its_own(protocol: Protocol) -> None:
    for tasks in (protocol.tasks, protocol.stand_in.tasks):
        assert len({task.name for task in tasks}) == len(tasks)


def test_an_unknown_experiment_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no experiment 'salun-nude'; the nearest .*nudity"):
        protocol_of("salun-nude")


def test_a_style_gives_way_to_the_photograph_of_the_same_object() -> None:
    plan = plan_concept("Van Gogh style", family="unlearncanvas")
    assert len(plan.forget) == len(OBJECTS)
    assert plan.replacement["A Bears image in Van Gogh style."] == (
        "A Bears image in Photo style.",
    )
    assert plan.erased == ("Van_Gogh",)
    assert set(plan.retain) == {f"A {one} image in Photo style." for one in OBJECTS}


def test_an_object_gives_way_to_the_photograph_of_any_other() -> None:
    plan = plan_concept("Bears", family="unlearncanvas")
    assert len(plan.forget) == len(STYLES) + 1
    others = {f"A {one} image in Photo style." for one in OBJECTS if one != "Bears"}
    assert all(set(stand_ins) == others for stand_ins in plan.replacement.values())
    assert set(plan.retain) == others


def test_what_unlearncanvas_does_not_draw_is_refused_with_the_nearest() -> None:
    from prompts.errors import PromptError

    with pytest.raises(PromptError, match=r"'Van Goch' in UnlearnCanvas; the nearest .*gogh"):
        plan_concept("Van Goch", family="unlearncanvas")
