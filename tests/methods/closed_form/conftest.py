"""Two prompts to forget with their stand-ins, two to keep, and the mask of all that they reach."""

import pytest

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.mask_finding import find_mask
from erasure.masks.masks import SaliencyMask


@pytest.fixture(scope="module")
def prompts(tiny_checkpoint: Checkpoint) -> ConceptData:
    lists = PromptLists(["a church", "church"], ["a dog", "a truck"])
    stand_ins = {"a church": ["a castle"], "church": ["castle"]}
    return encode_concept(tiny_checkpoint, None, stand_ins, prompts=lists)


@pytest.fixture(scope="module")
def values(tiny_checkpoint: Checkpoint, prompts: ConceptData) -> SaliencyMask:
    return find_mask(tiny_checkpoint, prompts, "all", scope="xattn-kv")
