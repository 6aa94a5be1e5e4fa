"""Types of contracts are tolerant: whether an unknown field is an error is up to the reader."""

import pkgutil
from importlib import import_module

import msgspec

import prebook.contracts
from prebook.messaging.message_document import MessageDocument


def test_no_type_of_a_contract_refuses_unknown_fields() -> None:
    modules = [
        import_module(f"prebook.contracts.{each.name}") for each in pkgutil.iter_modules(prebook.contracts.__path__)
    ]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    structs = {each for each in found if issubclass(each, msgspec.Struct)} | {MessageDocument}

    assert len(structs) > len(modules)
    assert [each for each in structs if each.__struct_config__.forbid_unknown_fields] == []
