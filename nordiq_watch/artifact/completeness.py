"""Whether a directory is a complete model. Cheap: the JSON files are parsed, of the weights only the header is read.

Every writer passes through states that look finished from outside, so the directory has to prove itself: a JSON prefix
never parses, a safetensors header says how long the file must be, and the file system knows where a preallocated file
was never written to. What they cannot show (a file that is overwritten in place has the right length all the time) is
proven by the SHA-256 in training_info.json while the weights are read, and where there is none, by not changing for
`watch.settle_seconds`.
"""

from __future__ import annotations

import errno
from pathlib import Path

from nordiq_watch.artifact.layout import CONFIG_FILE, MAPPING_FILE, REQUIRED_FILES, WEIGHTS_FILE
from nordiq_watch.artifact.manifest import BrokenManifest, UnknownFormat, read_info, read_mapping, read_spec
from nordiq_watch.artifact.weights_file import BrokenWeights, check_length, find_hole
from nordiq_watch.records import Verdict

_NOT_A_FILE = {errno.ELOOP: "is a symbolic link", errno.EINVAL: "is not a regular file", errno.ENOENT: "is missing"}


def judge(directory: Path) -> Verdict:
    """Looks at what is there now. `proven` means that the directory carries a hash of each required file.

    Raises OSError for what the file system does (EIO, EMFILE, permission …): that says nothing about the model.
    """
    missing = [name for name in REQUIRED_FILES if not (directory / name).exists()]
    if missing:
        return _incomplete(f"{', '.join(missing)} missing")
    try:
        check_length(directory / WEIGHTS_FILE)
    except BrokenWeights as error:
        return _incomplete(f"{WEIGHTS_FILE} {error}")
    except OSError as error:
        return _incomplete(f"{WEIGHTS_FILE} {_explain(error)}")
    verdict = _judge_manifests(directory)
    return _judge_holes(directory) if verdict.complete and not verdict.proven else verdict


def _judge_manifests(directory: Path) -> Verdict:
    for file_name, read in ((CONFIG_FILE, read_spec), (MAPPING_FILE, read_mapping)):
        try:
            read(directory)
        except UnknownFormat:
            pass  # whole, but not ours to serve: the reload says so
        except BrokenManifest as error:
            return _incomplete(str(error))
        except OSError as error:
            return _incomplete(f"{file_name} {_explain(error)}")
    try:
        info = read_info(directory)
    except BrokenManifest as error:
        return _incomplete(str(error))
    proven = info is not None and all(name in info.sha256 for name in REQUIRED_FILES)
    return Verdict(complete=True, proven=proven)


def _judge_holes(directory: Path) -> Verdict:
    """Only where no hash decides: a sparse copy of whole weights is rare, but whole."""
    hole = find_hole(directory / WEIGHTS_FILE)
    if hole is None:
        return Verdict(complete=True)
    return _incomplete(
        f"{WEIGHTS_FILE} is not written from byte {hole:,} on (if it is a sparse copy: `cp --sparse=never`)"
    )


def _incomplete(reason: str) -> Verdict:
    return Verdict(complete=False, reason=reason)


def _explain(error: OSError) -> str:
    """What an OSError says about the directory; one that says nothing about it is raised again."""
    if error.errno not in _NOT_A_FILE and error.errno != errno.EFBIG:
        raise error
    return _NOT_A_FILE.get(error.errno, error.strerror or "cannot be read")
