from pipeline.synthesis.draws import START, WIDTH


def test_no_two_decisions_share_a_random_number() -> None:
    starts = list(START.values())
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] < WIDTH


def test_no_module_reads_further_than_its_own_places() -> None:
    """Every u[NAME + n] in the package lies before the next decision's first place."""
    import inspect
    import re

    from pipeline.synthesis import degrade, geometry, layout, render, style, surface

    ends = dict(zip(START, [*list(START.values())[1:], WIDTH], strict=True))
    seen = set()
    for module in (degrade, geometry, layout, render, style, surface):
        named = {
            name: place
            for name, place in vars(module).items()
            if name.isupper() and isinstance(place, int) and place in START.values()
        }
        for name, further in re.findall(r"u\[(_[A-Z]+)(?: \+ (\d+))?\]", inspect.getsource(module)):
            decision = next(key for key, start in START.items() if start == named[name])
            assert named[name] + int(further or 0) < ends[decision], (module.__name__, name, further)
            seen.add(decision)
    assert len(seen) > 25
