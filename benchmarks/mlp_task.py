"""The task of the round benchmark: a 784-200-200-10 perceptron (199,210 parameters), 100 samples, batches of 10."""

import numpy as np
from torch import nn, optim

import folkmoot as fm


def load(path):
    with np.load(path) as data:
        train = data["x"], data["y"]
    return train, (train[0][:10], train[1][:10])


task = fm.TorchTask(
    name="mlp",
    model=lambda: nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)),
    loss=nn.CrossEntropyLoss(),
    optimizer=lambda params: optim.SGD(params, lr=0.01),
    load=load,
    batch_size=10,
    metrics={},
    server=fm.FedAvg(),
    policy=fm.Policy(rounds=20, min_members=4, start_members=8),
)
