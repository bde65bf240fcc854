"""Where reasons find their places in the spec."""

from __future__ import annotations

from tasker_build.errors import Span
from tasker_build.plan.places import names_keys, spans_of, with_places
from tasker_build.plan.words import Action, Plan, Reason, ReasonKind, Step
from tasker_build.spec.model import TargetName

TARGET, ARGUMENT = Span(file="s.yaml", line=3, col=1), Span(file="s.yaml", line=5, col=7)
PLACES = {"targets.a": TARGET, "targets.a.args.X": ARGUMENT, "targets.a.args.Y": ARGUMENT}


def test_a_key_that_is_gone_is_where_it_was() -> None:
    assert spans_of(["targets.a.args.GONE"], PLACES) == (TARGET,)
    assert spans_of(["vars.gone"], PLACES) == ()


def test_a_place_is_named_once() -> None:
    assert spans_of(["targets.a.args.X", "targets.a.args.Y", "targets.a"], PLACES) == (ARGUMENT, TARGET)


def test_only_reasons_with_keys_need_places() -> None:
    def plan(*keys: str) -> Plan:
        reason = Reason(kind=ReasonKind.ARG, keys=keys)
        return Plan(steps=(Step(target=TargetName("a"), action=Action.REBUILD, reasons=(reason,)),))

    assert not names_keys(plan())
    assert names_keys(plan("targets.a.args.X"))
    (step,) = with_places(plan("targets.a.args.X"), PLACES).steps
    assert step.reasons[0].spans == (ARGUMENT,)
