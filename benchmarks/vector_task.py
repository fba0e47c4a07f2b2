"""A task that is nothing but its contribution, 199,210 random values: only the exchange is measured."""

import numpy as np

import folkmoot as fm

SIZE = 199_210


class VectorTask:
    name = "vector"
    policy = fm.Policy(rounds=6, min_members=2, start_members=4, train_seconds=600, exchange_seconds=600)

    def init(self):
        return fm.State({"x": np.zeros(SIZE)})

    def schema(self, state):
        return {"x": (SIZE,)}

    def load(self, path):
        return None

    def contribute(self, state, data, context):
        random = np.random.default_rng(list(context.seed))
        return fm.Contribution({"x": random.normal(size=SIZE)}, weight=100)

    def update(self, state, aggregate):
        return fm.State({"x": state.arrays["x"] + aggregate.arrays["x"]}, round=state.round + 1)

    def metrics(self):
        return {}

    def evaluate(self, state, data):
        return {}


task = VectorTask()
