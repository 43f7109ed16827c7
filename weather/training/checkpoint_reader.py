"""Reads checkpoint tensors without unpickling anything but plain tensor metadata.

`torch.distributed.checkpoint` keeps its table of contents as a pickle, and a pickle can run code. Here only the few
classes that such a table is made of are let through, and only tensors are read.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from weather.errors import CheckpointError

CONTENTS_FILE = ".metadata"
ALLOWED = {
    "torch": {"Size", "float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool"},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "collections": {"OrderedDict"},
    "builtins": {"dict", "list", "set", "tuple"},
    # The folder it was written to; building a path touches nothing. The module's name depends on Python's version.
    "pathlib": {"Path", "PosixPath"},
    "pathlib._local": {"Path", "PosixPath"},
}


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in ALLOWED.get(module, ()):
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no table of tensors needs")
        return super().find_class(module, name)


class TensorReader(FileSystemReader):
    """Reads the tensors of a checkpoint folder.

    Raises:
        CheckpointError: the table of contents is missing, damaged, or holds what is no tensor.
    """

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        path = Path(self.path) / CONTENTS_FILE
        try:
            with open(path, "rb") as file:
                metadata = _MetadataUnpickler(file).load()
        except Exception as error:
            # A damaged pickle can raise nearly anything.
            raise CheckpointError(f"the table of contents cannot be read ({error})", where=path) from error
        if not isinstance(metadata, Metadata):
            raise CheckpointError("it is no table of contents", where=path)
        odd = [
            name for name, item in metadata.state_dict_metadata.items() if not isinstance(item, TensorStorageMetadata)
        ]
        if odd:
            raise CheckpointError(f"'{odd[0]}' is no tensor", where=path, rule="checkpoints hold tensors only")
        for place in metadata.storage_data.values():
            if Path(place.relative_path).name != place.relative_path:
                raise CheckpointError(f"it points to '{place.relative_path}', outside of the checkpoint", where=path)
        if metadata.storage_meta is not None:
            metadata.storage_meta.load_id = self.load_id
        return metadata

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor by name."""
        entries = self.read_metadata().state_dict_metadata
        return {name: tuple(entry.size) for name, entry in entries.items() if isinstance(entry, TensorStorageMetadata)}
