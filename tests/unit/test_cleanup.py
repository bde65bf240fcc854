"""What a cleanup would remove: ours by name, nothing of others, each level within the next."""

from __future__ import annotations

import random

from tasker_build.environments.cleanup import EVERYTHING, LEVELS, Kind, Thing, removals, word_to_type
from tasker_build.environments.owned import Owned
from tests.conftest import load

SPEC = b"""\
version: 1
project: demo
registry: localhost:5000/acme
targets:
  app: {template: x.j2, image: demo-app}
  old: {template: x.j2, image: demo-old, enabled: false}
stacks:
  one:
    project: demo-one
    services: {app: {target: app}}
    networks: {net: {name: demo-network}, theirs: {name: shared, external: true}}
    volumes: {data: {name: demo-data}, plain: ~, theirs: {name: precious, external: true}}
  two:
    services: {app: {target: app}}
"""

OURS = [
    Thing(kind=Kind.CONTAINER, name="demo-one-app-1", project="demo-one"),
    Thing(kind=Kind.NETWORK, name="demo-network", project="demo-one"),
    Thing(kind=Kind.VOLUME, name="demo-data", project="docker"),  # made by an older layout: the name says whose it is
    Thing(kind=Kind.IMAGE, name="localhost:5000/acme/demo-app:latest"),
]


def owned() -> Owned:
    return Owned.of(load([("stacks.yaml", SPEC)]))


def test_the_names_of_a_spec() -> None:
    names = owned()
    assert names.projects == ("demo-one", "demo-two")
    assert names.networks == ("demo-network", "demo-one_default", "demo-two_default")
    assert names.volumes == ("demo-data", "demo-one_plain")
    assert names.repositories == ("localhost:5000/acme/demo-app", "localhost:5000/acme/demo-old")


def test_levels() -> None:
    assert [len(removals(level, owned(), OURS)) for level in LEVELS] == [2, 3, 4, 0, 4]


def test_in_an_order_in_which_it_can_be_removed() -> None:
    shuffled = OURS.copy()
    random.Random(1).shuffle(shuffled)  # noqa: S311
    assert [thing.kind for thing in removals("images", owned(), shuffled)] == list(Kind)


def test_nothing_of_others_is_ever_chosen() -> None:
    foreign = []
    for i in range(100):
        foreign += [
            Thing(kind=Kind.CONTAINER, name=f"demo-one-app-{i}x", project=f"demo-one-{i}"),
            Thing(kind=Kind.CONTAINER, name=f"tasker-{i}"),
            Thing(kind=Kind.NETWORK, name=f"demo-network-{i}", project="demo-one"),
            Thing(kind=Kind.VOLUME, name=f"demo-data-{i}", project="demo-one"),
            Thing(kind=Kind.IMAGE, name=f"localhost:5000/acme/demo-app-{i}:latest"),
            Thing(kind=Kind.IMAGE, name=f"other/demo-app:{i}"),
        ]
    foreign += [
        Thing(kind=Kind.NETWORK, name="shared"),
        Thing(kind=Kind.VOLUME, name="precious"),
        Thing(kind=Kind.IMAGE, name="localhost:5000/acme/demo-app:<none>"),
    ]
    for level in LEVELS:
        assert removals(level, owned(), foreign) == ()
        assert removals(level, owned(), [*foreign, *OURS]) == removals(level, owned(), OURS)


def test_data_wants_a_word() -> None:
    assert word_to_type("containers", removals("containers", owned(), OURS), "demo") == ""
    assert word_to_type("basic", removals("basic", owned(), OURS), "demo") == "demo"
    assert word_to_type("deep", (), "demo") == EVERYTHING
