from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class LoadRequest(_message.Message):
    __slots__ = ("name", "file", "replace")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    file: str
    replace: bool
    def __init__(self, name: _Optional[str] = ..., file: _Optional[str] = ..., replace: _Optional[bool] = ...) -> None: ...

class LoadResponse(_message.Message):
    __slots__ = ("name", "sha256", "replaced_sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    REPLACED_SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    sha256: str
    replaced_sha256: str
    def __init__(self, name: _Optional[str] = ..., sha256: _Optional[str] = ..., replaced_sha256: _Optional[str] = ...) -> None: ...

class UnloadRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UnloadResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
