"""Converts published checkpoints into Skipstream model files; executes nothing from them.

    cli              the command
    checkpoint       a file's container and kind
    pickle_machine   interprets the data part of pickle; knows no Python object
    globals_table    the few names a pickle may mention, and what each builds
    torch_files      torch.save containers, new (zip) and legacy
    zip_archive      stored entries of a zip file
    tensors          storages and strided views of them
    config           which configurations there are
    network          what a configuration says about parameters
    derive           the reverse: a configuration from parameters
    edm, consistency, state_dict   the three kinds of checkpoint
    model_file       the .safetensors writer

A checkpoint is hostile until proven otherwise. The file is mapped, tensors are views of it, and
what is built while reading is bounded (pickle_machine.Budget), so memory stays near the size of the
largest tensor and time is linear in the size of the file.
"""
