"""The walk through one update of any network, beside the kernel and a textbook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backprop_svc as bp
from command import call

ACTIVATIONS = ["relu", "identity", "leaky_relu", "tanh", "sigmoid", "gelu", "softplus"]
LOSSES = ["half_squared_error", "mse", "binary_cross_entropy", "softmax_cross_entropy"]
WEIGHTS = [0.15, 0.2, 0.25, 0.3, 0.35, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.6]


def test_two_layers_of_sigmoids_are_the_textbook_s() -> None:
    # Matt Mazur, "A Step by Step Backpropagation Example" (2015), with its numbers.
    network = bp.Network(2, 2, 2, activation="sigmoid", output="sigmoid", bias=True)
    x, y = [0.05, 0.1], [0.01, 0.99]
    walk = bp.explain(network, WEIGHTS, x, y, learning_rate=0.5)
    assert walk["ŷ1"] == pytest.approx(0.75136507, abs=1e-8)
    assert walk["ŷ2"] == pytest.approx(0.772928465, abs=1e-9)
    assert walk["L"] == pytest.approx(0.298371109, abs=1e-9)
    assert walk["∂L/∂w2_1_1"] == pytest.approx(0.082167041, abs=1e-9)
    expected = {
        "w1_1_1": 0.149780716, "w1_1_2": 0.19956143, "w1_2_1": 0.24975114,
        "w1_2_2": 0.29950229, "w2_1_1": 0.35891648, "w2_1_2": 0.408666186,
        "w2_2_1": 0.511301270, "w2_2_2": 0.561370121,
    }  # fmt: skip
    result = bp.train(network, WEIGHTS, [x], [y], learning_rate=0.5, epochs=1)
    trained = dict(zip(network.parameter_names, result.weights[0], strict=True))
    for name, value in expected.items():
        assert walk[f"new {name}"] == pytest.approx(value, abs=1e-8)
        assert trained[name] == pytest.approx(value, abs=1e-8)
    assert bp.predict(network, WEIGHTS, [x])[0, 0].tolist() == pytest.approx(
        [walk["ŷ1"], walk["ŷ2"]], abs=1e-15
    )


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_network_is_walked_as_it_is_trained(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    loss = data.draw(st.sampled_from(LOSSES))
    output = data.draw(st.sampled_from(ACTIVATIONS))
    if loss.endswith("entropy"):
        output = "sigmoid" if loss.startswith("binary") else "identity"
    network = bp.Network(
        *sizes,
        activation=data.draw(st.sampled_from(ACTIVATIONS)),
        output=output,
        gain=data.draw(st.sampled_from([1.0, 1.5])),
        bias=data.draw(st.booleans()),
        loss=loss,
    )
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    weights = random.uniform(-2, 2, network.parameters)
    x, y = random.uniform(-2, 2, network.inputs), random.uniform(0, 1, network.outputs)
    if loss.startswith("softmax"):
        y /= y.sum()
    walk = bp.explain(network, weights, x, y, learning_rate=0.3)
    found = bp.gradients(network, weights, x[None], y[None])
    assert walk["L"] == pytest.approx(found.loss[0], rel=1e-12, abs=1e-12)
    names = network.parameter_names
    walked = [walk[f"∂L/∂{name}"] for name in names]
    np.testing.assert_allclose(walked, found.gradients[0], atol=1e-12)
    new = [walk[f"new {name}"] for name in names]
    np.testing.assert_allclose(new, weights - 0.3 * found.gradients[0], atol=1e-12)
    after = bp.gradients(network, new, x[None], y[None]).loss[0]
    assert walk["L (new)"] == pytest.approx(after, rel=1e-12, abs=1e-12)
    checks = [s.check for s in walk.sections["Backward pass"] if s.check is not None]
    assert all(check.error < 1e-5 for check in checks)
    smooth = not {network.activation, network.output} & {"relu", "leaky_relu"}
    assert not smooth or len(checks) == len(walk.sections["Backward pass"])


def test_what_cannot_be_walked_is_refused() -> None:
    small = bp.Network(2, 3, 1)
    weights = np.ones(small.parameters)
    for arguments, said in (
        ((bp.Network(40, 40), np.ones(1600), np.ones(40), np.ones(40)), "up to 1,000 of them"),
        ((small, weights, [[1, 2], [3, 4]], 1), "x has 4 values; allowed: 2"),
        ((bp.Network(1, 1, loss="binary_cross_entropy"), [1], 1, 2), r"y\[0\] is 2"),
    ):
        with pytest.raises(bp.SettingError, match=said):
            bp.explain(*arguments)


def test_an_output_that_the_loss_has_not_is_refused() -> None:
    assert bp.Network(1, 1, loss="binary_cross_entropy", output="sigmoid").output == "sigmoid"
    for loss, output in (("binary", "tanh"), ("softmax", "sigmoid"), ("softmax", "relu")):
        with pytest.raises(bp.SettingError, match=f"output is '{output}'; allowed: identity"):
            bp.Network(1, 1, loss=f"{loss}_cross_entropy", output=output)
    with pytest.raises(bp.SettingError, match="output is 'tan'; allowed: identity, relu"):
        bp.Network(1, 1, output="tan")


def test_an_output_activation_from_the_command_line(tmp_path: Path) -> None:
    words = (
        "network.sizes=[2,2,2]", "network.activation=sigmoid", "network.output=sigmoid",
        "network.bias=true", "init=weights", f"init.weights={WEIGHTS}".replace(" ", ""),
        "data.x=[[0.05,0.1]]", "data.y=[[0.01,0.99]]", "train.lr=0.5",
    )  # fmt: skip
    done = call(tmp_path, "explain", *words)
    assert done.returncode == 0, done.stderr
    assert "0.2983711088" in done.stdout
    assert "at the kink" not in done.stdout
    assert "✗" not in done.stdout
    done = call(tmp_path, "train", *words, "train.epochs=1", "tracking=none")
    assert "last loss 0.2983711" in done.stdout
    done = call(tmp_path, "explain", *words[1:4], "network.hidden=[2]", *words[6:])
    assert done.returncode == 0, done.stderr
