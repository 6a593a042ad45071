"""The line of a key of a TOML document."""

from __future__ import annotations

import tomllib

import pytest

from hwloop.toml_lines import TomlLines

TEXT = '''# a comment with [brackets] and key = 1
name = "x # no comment"
"odd key".sub = 'a = b'

[task]
train = {inputs = "x.npy",   # in line
  labels = "y.npy"} # not of 1.0, but a later TOML has it
text = """
[task.fake]
seed = 3
"""
sizes = [
  1,
  [2, 3],   # a ] in a comment
]

[[network.layers]]
kind = "dense"

[network.layers.extra]
deep.er = 1

[[network.layers]]
kind = "lif"
maps = [{kind = "a"},
        {kind = "b"}]
'''.replace('"x.npy",   # in line\n  labels', '"x.npy", labels').replace(" # not of 1.0, but a later TOML has it", "")


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("name",), 2),
        (("odd key", "sub"), 3),
        (("task",), 5),
        (("task", "train", "labels"), 6),
        (("task", "text"), 7),
        (("task", "sizes", 1), 13),
        (("task", "sizes", 1, 1), 13),
        (("task", "missing"), 5),  # the table that should have it
        (("network", "layers", 0, "kind"), 17),
        (("network", "layers", 0, "extra", "deep", "er"), 20),
        (("network", "layers", 1), 22),
        (("network", "layers", 1, "kind"), 23),
        (("network", "layers", 1, "maps", 1, "kind"), 25),
        (("network",), 16),  # no header of its own
        (("nowhere",), None),
    ],
)
def test_a_key_stands_in_its_line_whatever_stands_before_it(place: tuple[str | int, ...], line: int | None) -> None:
    assert tomllib.loads(TEXT)
    assert TomlLines(TEXT).line(place) == line


@pytest.mark.parametrize("text", ["", "# only a comment", "a=1", "a = '''\n'''\nb = 2", 'a = "\\""\r\nb = 2\r\n'])
def test_a_document_of_any_shape_is_gone_through(text: str) -> None:
    lines = TomlLines(text)
    for key in tomllib.loads(text):
        assert text.splitlines()[(lines.line((key,)) or 0) - 1].startswith(key)
