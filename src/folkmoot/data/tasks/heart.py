"""Four hospitals learn to tell heart disease, from the UCI data shipped with Folkmoot (`fm.hospitals()`).

The first round sums means and scales of the features, the others are rounds of logistic regression.
"""

import folkmoot as fm


def load(path):
    """(train, test) of one hospital; a third of its patients is held out."""
    return fm.load_heart(path, seed=0)


task = fm.LogisticTask(
    name="heart-disease",
    load=load,
    features=13,
    learning_rate=1.0,
    server=fm.FedAvg(),
    metrics={"loss": fm.metrics.log_loss, "auc": fm.metrics.roc_auc, "accuracy": fm.metrics.accuracy},
    policy=fm.Policy(
        rounds=20,
        min_members=3,
        start_members=4,
        bits=32,
        train_seconds=4,
        exchange_seconds=4,
        final_seconds=4,
    ),
)
