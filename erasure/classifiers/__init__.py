"""Let a classifier forget some of its training data: methods, masks, exact and approximate."""

from erasure.classifiers.data.batches import Batch, Batches
from erasure.classifiers.data.saliency import classifier_saliency
from erasure.classifiers.data.training_recipe import TrainingRecipe, train_classifier
from erasure.classifiers.methods.registry import METHODS, make_method
from erasure.classifiers.protocol import Method, Task, Unlearned
from erasure.classifiers.unlearn import unlearn
from erasure.training.step import Step

__all__ = [
    "METHODS",
    "Batch",
    "Batches",
    "Method",
    "Step",
    "Task",
    "TrainingRecipe",
    "Unlearned",
    "classifier_saliency",
    "make_method",
    "train_classifier",
    "unlearn",
]
