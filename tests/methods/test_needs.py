"""What a method is not given, and cannot do without, is said in one sentence."""

import pytest

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.edit import component_of, erase
from erasure.diffusion.mask_finding import find_mask
from erasure.errors import ConfigError
from erasure.methods import METHODS

SAID = {
    "pictures": "there is no picture to forget; give at least one",
    "anchors": "no anchor pictures; set data.anchors.drawn",
    "prompts": "the concept's prompts are not encoded; give them with the pictures",
}


@pytest.fixture(scope="module")
def texts(tiny_checkpoint: Checkpoint) -> ConceptData:
    lists = PromptLists(["a church"], ["a dog"])
    return encode_concept(tiny_checkpoint, None, {"a church": ["a castle"]}, prompts=lists)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_without_what_it_learns_from_says_what_to_give(
    name: str, tiny_checkpoint: Checkpoint, tiny_data: ConceptData, texts: ConceptData
) -> None:
    method = METHODS[name]()
    (need,) = method.needs - {"frozen"}
    data = tiny_data if need == "prompts" else texts
    component = component_of(method, tiny_checkpoint)
    scope = {"scope": method.default_scope, "component": component}
    mask = find_mask(tiny_checkpoint, data, "all", **scope)
    with pytest.raises(ConfigError) as refused:
        erase(tiny_checkpoint, data, mask, method)
    assert SAID[need] in str(refused.value)
    assert "\n" not in str(refused.value)
