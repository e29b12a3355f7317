"""Train a network with one hidden layer on two spirals, by stochastic gradient descent with momentum."""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from pathlib import Path

Point = tuple[list[float], float]


def spirals(count: int, *, noise: float, seed: int) -> list[Point]:
    """``count`` points of each spiral, as ([x, y], label); the labels are 0 and 1."""
    rng = random.Random(seed)
    points: list[Point] = []
    for index in range(count):
        radius = 0.15 + 0.85 * index / count
        for label in (0.0, 1.0):
            angle = 1.75 * math.tau * radius + math.pi * label
            x = radius * math.cos(angle) + rng.gauss(0, noise)
            y = radius * math.sin(angle) + rng.gauss(0, noise)
            points.append(([x, y], label))
    rng.shuffle(points)
    return points


class Network:
    """A point → its place and waves of it → ``width`` hidden units (tanh) → the probability of label 1."""

    def __init__(self, width: int, seed: int) -> None:
        rng = random.Random(seed)
        count = len(self.features([0.0, 0.0]))
        self.hidden = [[rng.gauss(0, 1 / math.sqrt(count)) for _ in range(count)] for _ in range(width)]
        self.output = [rng.gauss(0, 1 / math.sqrt(width)) for _ in range(width + 1)]
        self.hidden_speed = [[0.0] * count for _ in range(width)]
        self.output_speed = [0.0] * (width + 1)

    @staticmethod
    def features(point: list[float]) -> list[float]:
        x, y = point
        return [x, y, math.sin(4 * x), math.sin(4 * y), 1.0]

    def forward(self, features: list[float]) -> tuple[list[float], float]:
        """The hidden units, and the probability of label 1."""
        units = [
            math.tanh(sum(weight * value for weight, value in zip(row, features, strict=True)))
            for row in self.hidden
        ]
        units.append(1.0)
        total = sum(weight * unit for weight, unit in zip(self.output, units, strict=True))
        return units, 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))

    def learn(self, point: list[float], label: float, rate: float, momentum: float = 0.9) -> float:
        """One step down the gradient of the cross-entropy; returns the loss before it."""
        features = self.features(point)
        units, probability = self.forward(features)
        error = probability - label
        for index, row in enumerate(self.hidden):
            unit = units[index]
            slope = rate * error * self.output[index] * (1 - unit * unit)
            speeds = self.hidden_speed[index]
            for place, value in enumerate(features):
                speeds[place] = momentum * speeds[place] - slope * value
                row[place] += speeds[place]
        for index, unit in enumerate(units):
            self.output_speed[index] = momentum * self.output_speed[index] - rate * error * unit
            self.output[index] += self.output_speed[index]
        return -math.log(max(1e-9, probability if label else 1 - probability))

    def accuracy(self, points: list[Point]) -> float:
        right = sum((self.forward(self.features(point))[1] > 0.5) == (label > 0.5) for point, label in points)
        return right / len(points)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    training = spirals(500, noise=0.02, seed=options.seed)
    unseen = spirals(100, noise=0.02, seed=options.seed + 1)
    network = Network(options.width, options.seed)
    shuffle = random.Random(options.seed)
    print(f"run {os.environ.get('LAUNCH_RUN_ID', '-')}: {len(training)} points, {options.width} hidden units")
    began = time.perf_counter()
    loss = accuracy = 0.0
    for epoch in range(1, options.epochs + 1):
        shuffle.shuffle(training)
        rate = options.learning_rate * (1 - 0.9 * (epoch - 1) / options.epochs)
        loss = sum(network.learn(point, label, rate) for point, label in training) / len(training)
        accuracy = network.accuracy(unseen)
        print(f"epoch {epoch:2d}/{options.epochs}  loss {loss:.4f}  accuracy {accuracy:6.1%}", flush=True)
    metrics = {
        "loss": round(loss, 4),
        "accuracy": round(accuracy, 4),
        "epochs": options.epochs,
        "seconds": round(time.perf_counter() - began, 2),
    }
    file = Path(os.environ.get("METRICS_FILE", "metrics.json"))
    file.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
