"""Four hospitals learn to tell heart disease, and one member among them may lie (`fm.hospitals()`).

What a liar tells of its features would go into a first round that standardises; so features are scaled by fixed numbers
instead, known to all. Every round then takes, in each coordinate, a mean without the outermost.
"""

import folkmoot as fm

# Mean and standard deviation of each feature over the 303 patients of processed.cleveland.data: age, sex, chest pain 2,
# 3 and 4, blood pressure, cholesterol, blood sugar, ECG 1 and 2, heart rate, angina, ST depression
MEAN = [54.44, 0.68, 0.17, 0.28, 0.48, 131.69, 246.69, 0.15, 0.01, 0.49, 149.61, 0.33, 1.04]
SCALE = [9.02, 0.47, 0.37, 0.45, 0.50, 17.57, 51.69, 0.36, 0.11, 0.50, 22.84, 0.47, 1.16]


def load(path):
    """(train, test) of one member; a third of its patients is held out."""
    (x, y), (x_test, y_test) = fm.load_heart(path, seed=0)
    return ((x - MEAN) / SCALE, y), ((x_test - MEAN) / SCALE, y_test)


task = fm.LogisticTask(
    name="heart-disease-guarded",
    load=load,
    features=13,
    standardise=False,
    learning_rate=0.5,
    local_epochs=5,
    server=fm.FedAvg(),
    metrics={"loss": fm.metrics.log_loss, "auc": fm.metrics.roc_auc, "accuracy": fm.metrics.accuracy},
    policy=fm.Policy(
        rounds=20,
        min_members=8,
        start_members=8,
        bits=32,
        robust="trimmed-mean",
        mix="nearest-neighbours",
        faults=1,
        clip=2.0,
        train_seconds=10,
        exchange_seconds=10,
        final_seconds=10,
    ),
)
