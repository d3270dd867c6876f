"""Recompute what a checkpoint says of itself, compare, and say what nothing was said of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from erasure.architectures.registry import title_of
from erasure.checkpoints.audit_note import AuditNote, audit_notes
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.checks.finite import not_finite
from erasure.checkpoints.provenance import FILE_NAME, HEADER, Provenance
from erasure.checkpoints.reading.reading_file import open_file, read_single_file
from erasure.checkpoints.reading.reading_folder import describe_folder, read_component, read_folder
from erasure.checkpoints.verify_records import (
    MASK,
    NOT_RECORDED,
    Check,
    check_files,
    check_mask,
    check_record,
    read_record,
)
from erasure.checkpoints.writing.inventory import CHECKSUM, EXTRAS, checksum, stated_weights
from erasure.errors import CheckpointError
from erasure.lora.stated import described_lora
from erasure.storage.tensors.hashing import rounded_hash, weights_hash
from erasure.storage.tensors.pickles import is_pickle
from erasure.storage.tensors.tensor_file import DATA_HASH, TensorFile, data_hash

_RUN_MODEL: Final = "model"
_OTHERS: Final = {
    "erasure-patch ": "a patch, which `erasure patch apply` checks as it is put in",
    "erasure-mask ": "a mask, which is checked with the run that it lies in",
    "erasure-factors ": "the factors of a run, which `erasure export` checks as it takes them",
    "erasure-training-state ": "the state of a training, which a run checks as it goes on with it",
    "erasure-classifier ": "a classifier, which states no hash of its weights",
    "erasure-exact ": "a classifier, which states no hash of its weights",
}
"""How the formats of files that are no models begin, whatever their version -> what they are."""
_FINITE: Final = "all finite"


@dataclass(frozen=True, slots=True)
class Verification:
    """All comparisons of one checkpoint, and what could not be compared."""

    path: Path
    provenance: Provenance | None
    """None where the checkpoint is a plain copy: nothing was erased from it."""
    checks: tuple[Check, ...]
    unchecked: Mapping[str, str] = field(default_factory=dict)
    """Part -> why it was not looked at."""
    main: str = ""
    """The component that denoises."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Component -> hash of its weights as they are. Hold them against those of a source that you
    trust: whoever can write a file can write its hashes too."""
    audits: tuple[AuditNote, ...] = ()
    """What audits said of it, as its record holds it; each must be of these weights."""

    @property
    def network_hash(self) -> str:
        """The hash of the main component."""
        return self.hashes[self.main]

    @property
    def passed(self) -> bool:
        """Every check passed; it says nothing of `unchecked`."""
        return all(check.passed for check in self.checks)


@dataclass(slots=True)
class _Findings:
    """What is gathered on the way."""

    checks: list[Check] = field(default_factory=list)
    unchecked: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)


def verify(path: Path) -> Verification:
    """Recompute the hashes of a single file, a diffusers folder, or a run with `model/` inside.

    Compared are the weights of every component, all other files of a folder but its card, the
    words of headers and records, and in a run the mask, the recipe and the figures. All weights
    must be finite, no component may be the one from before an edit that it is said to have, and an
    audit in a record must be of these weights. What the version that wrote it did not record is
    listed in `unchecked`.

    Args:
        path: of the file or the folder.

    Returns:
        Each comparison, in `checks`, and whether all of them came out equal, in `passed`.

    Raises:
        CheckpointError: it cannot be read, or states nothing that could be compared.

    Examples:
        >>> written = write_folder(checkpoint, Path("copy"))
        >>> verify(Path("copy")).passed
        True
        >>> "vae weights" in [check.name for check in verify(Path("copy")).checks]
        True
    """
    if path.is_file():
        return _verify_file(path)
    if (path / "model_index.json").is_file():
        return _verify_folder(path)
    if (path / _RUN_MODEL / "model_index.json").is_file():
        return _verify_run(path)
    if path.exists():
        raise CheckpointError(
            f"{path} is no checkpoint: it has neither model_index.json nor {_RUN_MODEL}/; give a "
            "diffusers folder, a single .safetensors file or the folder of a run"
        )
    raise CheckpointError(f"{path} does not exist; give a checkpoint to verify")


def _verify_file(path: Path) -> Verification:
    if is_pickle(path):
        raise CheckpointError(
            f"{path} is a pickle, which states no provenance; only a .safetensors file that "
            "`erasure export` wrote can be verified"
        )
    file = open_file(path)
    words = file.metadata
    _refuse_others(path, file)
    provenance = Provenance.from_header(words, str(path))
    if provenance is None and DATA_HASH not in words:
        raise _states_nothing(path)
    checkpoint = read_single_file(path, alone=True)
    findings = _Findings()
    _check_weights(findings, checkpoint, words, provenance)
    if DATA_HASH in words:
        findings.checks.append(Check("file data", words[DATA_HASH].lower(), data_hash(path)))
    else:
        findings.unchecked["file data"] = NOT_RECORDED
    _check_words(findings, words, "header words")
    main = checkpoint.architecture.main
    return Verification(
        path, provenance, tuple(findings.checks), findings.unchecked, main, findings.hashes
    )


def _refuse_others(path: Path, file: TensorFile) -> None:
    """Raise CheckpointError where a file is a LoRA, or one of ours that holds no model."""
    stated = file.metadata.get("format", "")
    other = next((what for start, what in _OTHERS.items() if stated.startswith(start)), None)
    if other is not None:
        raise CheckpointError(f"{path} is {other}; give a model or the folder of a run")
    if lora := described_lora(file):
        raise CheckpointError(
            f"{path} is {lora}; give the model that `erasure export BASE --lora FILE` writes with "
            "it, or the folder of a run"
        )


def _verify_folder(path: Path) -> Verification:
    part = describe_folder(path)[1].main_part
    words = read_component(path, part.component).metadata
    provenance = Provenance.from_header(words, str(path))
    record = read_record(path)
    if provenance is None and not stated_weights(words, str(path)) and record is None:
        raise _states_nothing(path)
    findings = _Findings()
    _check_weights(findings, read_folder(path), words, provenance)
    _check_words(findings, words, f"words in the {part.title}'s header")
    notes = _check_audits(findings, record, findings.hashes, path)
    if record is None:
        findings.unchecked["configs, tokenizers and other files"] = "there is no erasure.json"
    else:
        check_record(findings.checks, record, provenance, path)
        check_files(findings.checks, findings.unchecked, record, path)
    return Verification(
        path,
        provenance,
        tuple(findings.checks),
        findings.unchecked,
        part.component,
        findings.hashes,
        notes,
    )


def _verify_run(path: Path) -> Verification:
    inner = _verify_folder(path / _RUN_MODEL)
    findings = _Findings(
        [Check(f"{_RUN_MODEL}: {c.name}", c.stated, c.actual) for c in inner.checks],
        {f"{_RUN_MODEL}: {name}": why for name, why in inner.unchecked.items()},
    )
    record = read_record(path)
    notes = _check_audits(findings, record, inner.hashes, path)
    if record is None:
        findings.unchecked["the run itself"] = "there is no erasure.json beside the model"
    else:
        check_record(findings.checks, record, inner.provenance, path)
        check_files(findings.checks, findings.unchecked, record, path)
    if record is None and not (path / MASK).exists():
        findings.unchecked[MASK] = "there is none beside the model"
    else:
        check_mask(findings.checks, findings.unchecked, inner.provenance, path)
    return Verification(
        path,
        inner.provenance,
        tuple(findings.checks),
        findings.unchecked,
        inner.main,
        inner.hashes,
        (*inner.audits, *(note for note in notes if note not in inner.audits)),
    )


def _check_audits(
    findings: _Findings,
    record: Mapping[str, Any] | None,
    hashes: Mapping[str, str],
    folder: Path,
) -> tuple[AuditNote, ...]:
    """An audit must have attacked the weights that lie there."""
    notes = () if record is None else audit_notes(record, str(folder / FILE_NAME))
    wanted = "of these weights"
    for note in notes:
        own = {name: value for name, value in hashes.items() if name != EXTRAS}
        other = sorted(name for name in own if note.weights.get(name) != own[name])
        actual = f"of another {', '.join(other)}" if other else wanted
        findings.checks.append(Check(f"audit of {note.concept}", wanted, actual))
    return notes


def _check_weights(
    findings: _Findings,
    checkpoint: Checkpoint,
    words: Mapping[str, str],
    provenance: Provenance | None,
) -> None:
    """Hold the hashes of all components against what is stated."""
    main = checkpoint.architecture.main
    stated = stated_weights(words, str(checkpoint.path))
    old = not stated
    if old and provenance is not None and provenance.edits:
        last = provenance.last
        stated = {last.component: last.result_hash}  # all that older versions wrote
    parts = dict(checkpoint.components)
    if checkpoint.extras or EXTRAS in stated:
        parts[EXTRAS] = checkpoint.extras
    hashes = {name: weights_hash(part) for name, part in parts.items()}
    for name, part in parts.items():
        if name in stated:
            if old and rounded_hash(part) == stated[name]:
                hashes[name] = stated[name]  # hashed after rounding to float32, as once was done
            findings.checks.append(Check(f"{name} weights", stated[name], hashes[name]))
        else:
            findings.unchecked[f"{name} weights"] = NOT_RECORDED
    for name in sorted(set(stated) - set(parts)):
        findings.checks.append(Check(f"{name} weights", stated[name], "not there"))
    bad = not_finite(parts)
    findings.checks.append(Check("values", _FINITE, bad or _FINITE))
    if provenance is not None and provenance.edits:
        findings.checks.extend(_erased(provenance, hashes))
    if provenance is not None and provenance.restored is not None:
        for name, base in provenance.restored.bases.items():
            title = "restored base" if name == main else f"restored base of {title_of(name)}"
            findings.checks.append(Check(title, base, hashes.get(name, "not there")))
    findings.hashes |= hashes


def _erased(provenance: Provenance, hashes: Mapping[str, str]) -> Iterator[Check]:
    """A component from before an edit must not stand under the record of that edit."""
    wanted = "not the base of any"
    for name in dict.fromkeys(edit.component for edit in provenance.edits):
        own = [edit for edit in provenance.edits if edit.component == name]
        undone = [e.concept for e in own if e.moved and e.base_hash == hashes.get(name)]
        actual = f"the one before {undone[0]} was erased" if undone else wanted
        if name not in hashes:
            actual = "not there"
        yield Check(f"{title_of(name)} after its edits", wanted, actual)


def _check_words(findings: _Findings, words: Mapping[str, str], name: str) -> None:
    key = f"{HEADER}{CHECKSUM}"
    if key in words:
        findings.checks.append(Check(name, words[key], checksum(words)))
    else:
        findings.unchecked[name] = NOT_RECORDED


def _states_nothing(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} states no provenance to compare; only models that `erasure erase` "
        "or `erasure export` wrote can be verified"
    )
