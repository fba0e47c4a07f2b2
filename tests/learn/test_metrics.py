import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

import folkmoot as fm
from folkmoot.errors import TaskError

EXAMPLES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=60)


def split(examples):
    return np.array([p for p, _ in examples]), np.array([y for _, y in examples])


def value(metric, *parts):
    total = sum(metric.partial(p, y) for p, y in parts)
    assert total.dtype == np.int64
    assert total.shape == (metric.words,)
    return metric.value(total)


@settings(max_examples=40)
@given(EXAMPLES)
def test_auc_is_scikit_learns_but_for_pairs_that_share_a_bin(examples):
    p, y = split(examples)
    positives, negatives = int(y.sum()), int((1 - y).sum())
    assume(positives and negatives)
    words = fm.metrics.roc_auc.partial(p, y)
    shared = (words[:512] * words[512:]).sum() / (2 * positives * negatives)
    assert abs(fm.metrics.roc_auc.value(words) - theirs.roc_auc_score(y, p)) <= shared + 1e-12


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 511), st.integers(0, 1)), min_size=2, max_size=60))
def test_auc_of_binned_scores_is_exact(examples):
    p, y = split(examples)
    assume(0 < y.sum() < len(y))
    assert value(fm.metrics.roc_auc, ((p + 0.5) / 512, y)) == pytest.approx(theirs.roc_auc_score(y, p), abs=1e-12)


@given(EXAMPLES, EXAMPLES, st.sampled_from(["accuracy", "log_loss", "roc_auc", "mean_squared_error"]))
def test_sums_over_two_members_are_the_metric_of_all_their_data(one, two, name):
    metric = getattr(fm.metrics, name)
    apart, joined = value(metric, split(one), split(two)), value(metric, split(one + two))
    assert apart == pytest.approx(joined, abs=2**-20, nan_ok=True)


@given(EXAMPLES)
def test_accuracy_and_losses_are_scikit_learns(examples):
    p, y = split(examples)
    assert value(fm.metrics.accuracy, (p, y)) == pytest.approx(theirs.accuracy_score(y, p > 0.5))
    assert value(fm.metrics.mean_squared_error, (p, y)) == pytest.approx(theirs.mean_squared_error(y, p), abs=2**-20)
    kept = np.clip(p, 2**-40, 1 - 2**-40)
    assert value(fm.metrics.log_loss, (p, y)) == pytest.approx(theirs.log_loss(y, kept, labels=[0, 1]), abs=2**-19)


def test_several_classes_go_by_the_largest_probability():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2]])
    y = np.array([0, 1, 1])
    assert value(fm.metrics.multiclass_accuracy, (p, y)) == 1 / 3
    assert value(fm.metrics.log_loss, (p, y)) == pytest.approx(-np.log([0.7, 0.2, 0.4]).mean(), abs=1e-6)


def test_two_columns_are_two_classes_and_one_column_is_a_probability():
    p, y = np.array([0.2, 0.9, 0.6]), np.array([0, 1, 0])
    for metric in (fm.metrics.accuracy, fm.metrics.log_loss, fm.metrics.roc_auc):
        columns = metric.partial(np.column_stack([1 - p, p]), y)
        assert columns.tolist() == metric.partial(p, y).tolist() == metric.partial(p[:, None], y[:, None]).tolist()


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "roc_auc", "mean_squared_error"])
def test_no_example_gives_nan_and_not_an_error(name):
    metric = getattr(fm.metrics, name)
    assert np.isnan(metric.value(np.zeros(metric.words, np.int64)))


def test_auc_of_one_class_is_undefined():
    assert np.isnan(value(fm.metrics.roc_auc, (np.array([0.3, 0.4]), np.array([1, 1]))))


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([0.5], [0, 1], "do not fit 2 labels"),
        ([1.5, 0.2], [0, 1], "takes probabilities; predictions reach from 0.2 to 1.5"),
        ([np.nan, 0.2], [0, 1], "takes probabilities"),
        ([0.5, 0.2], [0, 2], "labels 0 to 1"),
        ([0.5, 0.2], [0.5, 1], "labels 0 to 1"),
        ([0.5, 0.2], [-1, 1], "labels 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(prediction, label, message):
    for metric in (fm.metrics.accuracy, fm.metrics.log_loss, fm.metrics.roc_auc):
        with pytest.raises(TaskError, match=message):
            metric.partial(np.array(prediction), np.array(label))


def test_a_sum_too_large_for_the_round_is_an_error_not_a_wrong_number():
    with pytest.raises(TaskError, match="scale the labels"):
        fm.metrics.mean_squared_error.partial(np.array([1e9]), np.array([0.0]))


def test_the_area_under_the_curve_counts_pairs_across_members_as_on_pooled_data():
    members = [(np.array([0.1, 0.3]), np.array([0, 1])), (np.array([0.6, 0.9]), np.array([0, 1]))]
    within = [fm.metrics.roc_auc.value(fm.metrics.roc_auc.partial(*member)) for member in members]
    summed = sum(fm.metrics.roc_auc.partial(*member) for member in members)
    pooled = fm.metrics.roc_auc.partial(*(np.concatenate(part) for part in zip(*members, strict=True)))
    assert within == [1.0, 1.0]
    assert fm.metrics.roc_auc.value(summed) == fm.metrics.roc_auc.value(pooled) == 0.75


def test_a_metric_that_counts_pairs_is_one_of_the_pairs_within_members():
    class ConcordanceWithin:
        """Concordant pairs and pairs, of survival times and predicted ones."""

        words = 2

        def partial(self, prediction, label):
            longer = label[:, None] > label[None, :]
            return np.array([((prediction[:, None] > prediction[None, :]) & longer).sum(), longer.sum()])

        def value(self, total):
            return int(total[0]) / int(total[1])

    metric = ConcordanceWithin()
    members = [(np.array([1.0, 2.0]), np.array([1.0, 2.0])), (np.array([0.1, 0.2]), np.array([5.0, 6.0]))]
    assert metric.value(sum(metric.partial(*member) for member in members)) == 1.0
    pooled = metric.partial(*(np.concatenate(part) for part in zip(*members, strict=True)))
    assert metric.value(pooled) == pytest.approx(2 / 6), "the pairs across members are all the wrong way round"


def test_a_label_that_is_no_class_is_named_by_its_example():
    with pytest.raises(TaskError, match=r"takes labels 0 to 1; .*held-out example 2 is 3\. Number them alike"):
        fm.metrics.accuracy.partial(np.full(4, 0.5), np.array([0, 1, 3, 7]))
    with pytest.raises(TaskError, match=r"predictions reach from -2 to 3; give the task a predict="):
        fm.metrics.log_loss.partial(np.array([-2.0, 3.0]), np.array([0, 1]))
