"""`benchmarks/reproduce`: its data, and the tables and costs that it writes, by hand."""

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from reproducing import costs, data, page, plan, tables  # noqa: E402
from reproducing.figures import Figures  # noqa: E402


def speeches():
    """Twelve roles of private plays, each a character longer than the next, one of a public play, one of neither."""
    rows = []
    for number in range(12):
        play = data.PRIVATE[number % len(data.PRIVATE)]
        rows += [{"play": play, "client": f"{play}/{number:02}", "text": "x" * (100 - number)} for _ in range(10)]
    for play in (data.PUBLIC[0], "tempest"):
        rows += [{"play": play, "client": f"{play}/A", "text": "y" * 1000}] * 10
    return rows


def test_roles_that_speak_most_are_parties_and_their_last_speeches_the_test():
    rows = speeches()
    private, test, public = data.divide(rows)
    assert {rows[at]["client"][-2:] for at in private} == {f"{number:02}" for number in range(data.ROLES)}
    assert not set(private) & set(test) and not {*private, *test} & set(public)
    assert {rows[at]["play"] for at in public} == {data.PUBLIC[0]}
    for number in range(data.ROLES):
        own = range(10 * number, 10 * number + 10)
        assert [at for at in private if at in own] == list(own)[:8] and [at for at in test if at in own] == list(own)[8:]


def test_no_party_has_a_line_of_the_public_plays():
    assert not set(data.PRIVATE) & set(data.PUBLIC)


def test_data_that_is_missing_is_named_with_what_to_do(tmp_path):
    with pytest.raises(data.Missing, match="there is no folder .*: let FEDSTILL_DATA name"):
        data.find(tmp_path / "none", tmp_path, ["mnist"])
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/train.parquet").touch()
    with pytest.raises(data.Missing, match=r"lacks mnist/test\.parquet, cifar100/train\.parquet: let"):
        data.find(tmp_path, tmp_path, ["mnist", "cifar100"])


def test_links_lead_where_the_data_is_now(tmp_path):
    into = tmp_path / "data"
    for folder in ("a", "b"):
        (tmp_path / folder / "mnist").mkdir(parents=True)
        data.link(tmp_path / folder, ["mnist"], into)
        data.link(tmp_path / folder, ["mnist"], into)
        assert (into / "mnist").resolve() == tmp_path / folder / "mnist"


def test_a_table_takes_the_place_of_the_one_before_and_of_nothing_else():
    text = f"# A\n{page.begin('one')}\nNot run yet.\n{page.END}\nprose\n{page.begin('two')}\n{page.END}\n"
    filled = page.fill(page.fill(text, "one", ["old"]), "one", ["| a |", "| b |"])
    assert filled == text.replace("Not run yet.", "| a |\n| b |")
    with pytest.raises(ValueError, match="no line <!-- reproduce three"):
        page.fill(text, "three", [])
    with pytest.raises(ValueError, match="after that of one"):
        page.fill(text.replace(page.END, "", 1), "one", [])


def figures(pipeline="feddf", **values):
    """Rows of a comparison: the scores of a pipeline's main step, by measure, each a value and its deviation."""
    row = {"pipeline": pipeline, "step": "evaluate", "round": None, "seeds": 3}

    def of(value, deviation):
        around = deviation or 0.0
        return {"value": value, "low": value - around, "high": value + around, "deviation": deviation}

    return [{**row, "measure": measure, **of(*found)} for measure, found in values.items()]


def test_figures_are_set_beside_their_windows():
    def window(measure, low=None, high=None):
        return plan.Window(measure, "stem", "feddf", "evaluate", measure, low, high)

    rows = figures(accuracy=(0.915, 0.004), difference=(0.25, 0.01), rounds_to_target=(87.3, 4.04))
    of_a_round = [{**row, "round": 3, "value": 0.0} for row in rows]
    found = {"stem": Figures([*rows, *of_a_round])}
    expected = [
        window("accuracy", low=0.92),
        window("accuracy", high=0.92),
        window("difference", low=0.20),
        window("rounds_to_target", 50, 87),
        window("price_to_target", low=1),
    ]
    assert tables.windows(expected, found)[2:] == [
        "| accuracy | .920 or more | .915 ± .004 | below |",
        "| accuracy | .920 or less | .915 ± .004 | as expected |",
        "| difference | +.200 or more | +.250 ± .010 | as expected |",
        "| rounds_to_target | 50 to 87 | 87.3 ± 4.04 | above |",
        "| price_to_target | 1 or more | – | not reached |",
    ]


def test_a_difference_that_rounds_to_nothing_has_no_sign_and_a_spread_that_does_gets_a_digit_more():
    def of(*found):
        return tables.difference(Figures(figures(difference=found)).get("feddf", "evaluate", "difference"))

    assert [tables.signed(value) for value in (-0.0004, 0.0004, -0.0, -0.0006)] == [".000", ".000", ".000", "-.001"]
    assert of(-0.0004, 0.004) == ".000 ± .004"
    assert of(0.0024, 0.0003) == "+.0024 ± .0003"
    assert of(-0.0024, 0.0005001) == "-.002 ± .001"
    assert of(-0.00004, 0.00003) == ".0000 ± .0000"
    assert of(-0.0121, None) == "-.012"
    window = plan.Window("gain", "stem", "feddf", "evaluate", "difference", low=0.2)
    found = {"stem": Figures(figures(difference=(0.0024, 0.0003)))}
    assert tables.windows([window], found)[2] == "| gain | +.200 or more | +.0024 ± .0003 | below |"


def test_a_window_is_met_where_every_seed_reached_it_and_not_where_some_did():
    def said(reaching, rounds):
        scored, reached = figures(accuracy=(0.97, 0.001), rounds_to_target=(rounds, 3.0))
        found = Figures([scored, {**reached, "seeds": reaching}])
        window = plan.Window("rounds", "stem", "feddf", "evaluate", "rounds_to_target", 50, 140)
        return tables.windows([window], {"stem": found})[2].split(" | ")[-1].removesuffix(" |")

    assert said(3, 87.0) == "as expected"
    assert said(2, 87.0) == "not met: 2 of 3 seeds"
    assert said(2, 187.0) == "above, 2 of 3 seeds"
    assert said(3, 187.0) == "above"


def test_a_window_is_met_where_the_lowest_and_the_highest_seed_are_in_it():
    def said(low, high, seeds=3):
        [found] = figures(accuracy=(0.9, 0.02))
        of = Figures([{**found, "seeds": seeds}])
        window = plan.Window("", "", "feddf", "evaluate", "accuracy", low, high)
        return tables.verdict(window, of.get("feddf", "evaluate", "accuracy"), 3)

    # Seeds from .88 to .92.
    assert said(0.87, 0.93) == said(0.87, None) == said(None, 0.93) == "as expected"
    assert said(0.89, None) == said(0.89, 0.93) == "on average, not every seed"
    assert said(None, 0.91) == said(0.87, 0.91) == "on average, not every seed"
    assert said(0.89, None, seeds=2) == "on average, not every seed, 2 of 3 seeds"
    # Some seeds in the window do not put the mean in it.
    assert said(0.91, None) == "below" and said(None, 0.89) == "above"


def test_a_seed_at_the_end_of_a_window_is_in_it():
    [found] = figures(accuracy=(0.92, None))
    window = plan.Window("", "", "feddf", "evaluate", "accuracy", 0.92, 0.92)
    assert tables.verdict(window, Figures([found]).get("feddf", "evaluate", "accuracy"), 3) == "as expected"


def test_rounds_to_a_target_say_how_many_seeds_reach_it():
    scored, reached = figures("fedavg", accuracy=(0.97, 0.001), rounds_to_target=(87.0, 3.0))
    some = Figures([scored, {**reached, "seeds": 2}])
    none = Figures([scored])
    points = [("first round with 0.97", "a"), ("first round with 0.97", "b")]
    lines = tables.rounds(points, {"a": some, "b": none}, "0.97", "87")
    assert [line.split(" | ")[1] for line in lines[2:]] == ["2 of 3", "0 of 3"]


def test_a_line_says_how_many_rows_parties_have_over_all_seeds():
    said = "Rows of a party, over 2 seeds: 512 at fewest, 1,488 at most, 1,000 on average."
    assert tables.sizes([[1488, 512], [1000, 1000]]) == [said]
    said = "Rows of a party, over one seed: 1,000 at fewest, 1,002 at most, 1,001 on average."
    assert tables.sizes([[1000, 1002]]) == [said]
    # Of a seed whose run was pruned they are not known.
    assert tables.sizes([[1488, 512], []]) == tables.sizes([]) == []


def test_the_worst_says_whether_it_is_a_party_or_an_architecture():
    def of(**values):
        return tables.worst(Figures(figures(**values)), ("feddf", "evaluate"))

    assert of(worst_party=(0.3456, 0.012)) == ".346 ± .012 (party)"
    assert of(worst_architecture=(0.9, None)) == ".900 (architecture)"
    assert of(accuracy=(0.9, None)) == "–"


def test_accuracies_stand_beside_local_training_fedmd_and_fedavg_with_the_worst_on_both_test_sets():
    def of(difference, accuracy=0.75, **worst):
        return Figures(figures(accuracy=(accuracy, 0.08), difference=(difference, 0.02), **worst))

    found = {
        "a": of(0.37, worst_architecture=(0.73, 0.01)),
        "a" + plan.TO_FEDMD_ALONE: of(0.1),
        "a" + plan.TO_FEDMD: of(0.36),
        "a" + plan.TO_FEDAVG: of(0.13),
        "a" + plan.LOCAL: of(0.2, accuracy=0.88, worst_party=(0.61, 0.03)),
    }
    header, _, row = tables.methods([("alpha 0.1", "a")], found)
    cells = dict(zip(header.strip("| ").split(" | "), row.strip("| ").split(" | "), strict=True))
    assert cells == {
        "alpha 0.1": "FedDF, prototypes",
        "global test set": ".750 ± .080",
        "minus its local training": "+.370 ± .020",
        "minus FedMD": "+.360 ± .020",
        "minus FedAvg": "+.130 ± .020",
        "worst": ".730 ± .010 (architecture)",
        "local test sets": ".880 ± .080",
        "worst of these": ".610 ± .030 (party)",
    }
    # Every comparison that the table reads is made.
    assert {comparison.stem for comparison in plan.methods("a")} == found.keys()
    lines = tables.methods([("alpha 0.1", "a"), ("alpha 100", "a")], found)
    assert lines == [header, lines[1], row, "", header.replace("0.1", "100"), lines[1], row]


def test_costs_are_compared_at_what_the_lowest_seed_ends_at():
    def of(fedmd, feddf, deviation=None):
        return Figures(figures("fedmd", accuracy=(fedmd, deviation)) + figures("feddf", accuracy=(feddf, None)))

    assert tables.equal_accuracy(of(0.4567, 0.9)) == 0.45
    assert tables.equal_accuracy(of(0.95, 0.949)) == 0.94
    assert tables.equal_accuracy(of(0.95, 0.949, 0.036)) == 0.91
    # What floating point makes of hundredths is not rounded down to the one below.
    for hundredths in range(1, 100):
        assert tables.equal_accuracy(of(hundredths / 100, 1.0)) == hundredths / 100
    assert tables.equal_accuracy(of(0.2899, 1.0)) == 0.28
    assert tables.equal_accuracy(of(0.001, 1.0)) == 0.01
    with pytest.raises(ValueError, match="both FedMD and FedDF"):
        tables.equal_accuracy(Figures(figures(accuracy=(0.5, None))))


def worked(round, stage, seconds, **crossed):
    """A row of `steps`: a task with 2 GB, half of whose time was spent waiting."""
    usage = {"gb_seconds": 2.0 * seconds, "cpu_seconds": 0.5 * seconds, "price": 0.01 * seconds}
    return {"round": round, "stage": stage, **usage, **crossed}


def test_what_is_spent_up_to_a_round_is_told_with_evaluations_and_without_and_by_processor_time():
    rounds = [(0, "pretrain", 4.0), (0, "evaluate", 1.0), (1, "train", 2.0), (1, "evaluate", 3.0), (2, "train", 8.0)]
    tasks = [worked(*task, bytes_up=100, bytes_down=20) for task in rounds]
    # By hand: 10 seconds up to round 1, 4 of them of evaluations.
    expected = {
        "rounds": 1,
        "bytes": 480,
        "gb_seconds": 20.0,
        "gb_seconds_without_evaluations": 12.0,
        "cpu_seconds": 5.0,
        "cpu_seconds_without_evaluations": 3.0,
        "price": 0.1,
    }
    assert costs.spent(tasks, 1) == pytest.approx(expected)
    assert tuple(expected) == costs.MEASURES == tuple(measure for measure, _, _ in tables.COSTS)
    assert costs.spent(tasks, 0)["gb_seconds"] == 10.0
    # One round of an earlier release, up to the target or behind it.
    assert costs.spent([*tasks, worked(1, "train", 1.0)], 1)["bytes"] is None
    assert costs.spent([*tasks, worked(2, "train", 1.0)], 1)["bytes"] == 480
    with pytest.raises(ValueError, match="some round up to 3"):
        costs.spent(tasks, 3)


def spent(times):
    """What a run spent: FedMD's with 1."""
    return {"rounds": 8 * times, "gb_seconds": 200.0 * times, "cpu_seconds": 100.0 * times, "price": 4.0 * times}


def test_savings_are_of_what_fedmd_took_over_the_means_and_seed_by_seed():
    by_seed = {seed: {"fedmd": spent(1), "feddf": spent(times)} for seed, times in enumerate((0.1, 0.3, 0.5))}
    lines = tables.costs("both", 0.9, by_seed)
    assert lines[0].startswith("| both, up to .900 | FedMD | FedDF | FedDF saves | saves, by seed |")
    shown = {line.split(" | ")[0]: line for line in lines[2:]}
    for what, took in {
        "| seeds that reach it": "3 of 3 | 3 of 3 | – | –",
        "| rounds": "8 ± 0 | 2.4 ± 1.6 | 70.0 % | 70.0 ± 20.0 %",
        "| MiB that cross": "– | – | – | –",
        "| GB-seconds": "200 ± 0 | 60 ± 40 | 70.0 % | 70.0 ± 20.0 %",
        "| processor seconds": "100 ± 0 | 30 ± 20 | 70.0 % | 70.0 ± 20.0 %",
        "| price, USD": "4 ± 0 | 1.2 ± 0.8 | 70.0 % | 70.0 ± 20.0 %",
    }.items():
        assert shown[what].startswith(f"{what} | {took} |")
    # Of the means and of each seed it differs where seeds differ in what FedMD took: 110 of 300, and 80 and 20 %.
    unlike = {0: {"fedmd": spent(1), "feddf": spent(0.2)}, 1: {"fedmd": spent(0.5), "feddf": spent(0.4)}}
    of_means, each = costs.savings(unlike, "gb_seconds")
    assert (of_means, each) == (pytest.approx(0.6), pytest.approx([0.8, 0.2])) and (1 - 120 / 300) == of_means


def test_a_saving_is_told_of_seeds_that_reach_the_target_with_both_methods():
    def line(fedmd, feddf, what):
        lines = tables.costs("one", 0.4, {0: {"fedmd": fedmd, "feddf": feddf}})
        return next(line for line in lines if line.startswith(f"| {what} |"))

    # Above the target from the beginning: of no rounds nothing is saved.
    assert line(spent(0), spent(1), "rounds").startswith("| rounds | 0 | 8 | – | – |")
    # A saving that rounds to nothing is no loss.
    assert line(spent(1), spent(1.0001), "price, USD").startswith("| price, USD | 4 | 4 | 0.0 % | 0.0 % |")
    assert line(spent(1), None, "GB-seconds").startswith("| GB-seconds | 200 | – | – | – |")
    assert line(spent(1), None, "seeds that reach it").startswith("| seeds that reach it | 1 of 1 | 0 of 1 |")
    # A seed that one of them does not reach is in no mean, and the others' savings are still told.
    some = {0: {"fedmd": spent(1), "feddf": spent(0.5)}, 1: {"fedmd": None, "feddf": spent(0.5)}}
    assert costs.savings(some, "price") == (None, [0.5, None])
    assert "| price, USD | – | 2 ± 0 | – | 50.0 % |" in tables.costs("some", 0.4, some)[-1]
    assert costs.savings({}, "price") == (None, [])


def test_a_row_a_seed_and_measure_is_kept_with_what_feddf_saves():
    by_seed = {0: {"fedmd": spent(1), "feddf": spent(0.5), "fedavg": None}, 7: {"fedmd": spent(1), "feddf": None}}
    kept = {(row["seed"], row["measure"]): row for row in costs.rows(by_seed, 0.9)}
    assert len(kept) == 2 * len(costs.MEASURES)
    none = {"fedavg": None, "standalone": None, "fedmd_standalone": None}
    expected = {"seed": 0, "target": 0.9, "measure": "price", "fedmd": 4.0, "feddf": 2.0, **none, "feddf_saves": 0.5}
    assert kept[0, "price"] == expected
    assert kept[7, "price"] == {**expected, "seed": 7, "feddf": None, "feddf_saves": None}


def test_what_fedavg_and_local_training_took_stands_beside_where_every_seed_gets_there():
    def seed(alone):
        known = {"fedmd": spent(1), "feddf": spent(2), "fedavg": spent(0.25)}
        return {**known, "standalone": alone, "fedmd_standalone": None}

    header, _, *rows = tables.costs("a", 0.2, {0: seed(spent(0.1)), 1: seed(None), 2: seed(spent(0.1))})
    beside = [row.strip("| ").split(" | ")[5:] for row in (header, *rows)]
    assert beside[0] == ["FedAvg", "local training, FedDF's", "local training, FedMD's"]
    shown = dict(zip((row.strip("| ").split(" | ")[0] for row in rows), beside[1:]))
    assert shown["seeds that reach it"] == ["3 of 3", "2 of 3", "0 of 3"]
    assert shown["price, USD"] == ["1 ± 0", "–", "–"]
    [*_, price] = tables.costs("a", 0.2, {0: seed(spent(0.1)), 2: seed(spent(0.1))})
    assert price.strip("| ").split(" | ")[5:] == ["1 ± 0", "0.4 ± 0", "–"]
