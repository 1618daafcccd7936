use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use crate::activation::NetworkGains;
use crate::error::within;
use crate::{Activation, Error, Loss, Result};

/// The largest number of parameters: networks here are small, and a larger number is most
/// often a mistake.
const MOST_PARAMETERS: usize = 1 << 24;

/// The shape of a network: fully connected layers, with or without bias.
///
/// Parameters of one run are one flat vector: layer after layer, each layer's matrix
/// row by row, one row per neuron of the layer, then its biases if it has them. For the
/// guide's network `[w1, w2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    sizes: Vec<usize>,
    activation: Activation,
    output: Activation,
    gain: f64,
    negative_slope: f64,
    bias: bool,
    loss: Loss,
    dtype: Dtype,
    layers: Vec<Layer>,
}

/// What a network computes with. Activations and losses are evaluated in double precision
/// and rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Single precision: half the memory, twice the runs in a register.
    Float32,
    /// Double precision.
    Float64,
}

impl Dtype {
    /// Every type, in the order in which messages name them.
    pub const ALL: [Self; 2] = [Self::Float32, Self::Float64];

    /// The name used in configuration and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        }
    }

    /// The number of this type that is nearest to a value.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn rounded(self, value: f64) -> f64 {
        match self {
            Self::Float64 => value,
            Self::Float32 => f64::from(value as f32),
        }
    }

    /// The distance from 1 to the next number of this type.
    pub(crate) fn epsilon(self) -> f64 {
        match self {
            Self::Float64 => f64::EPSILON,
            Self::Float32 => f64::from(f32::EPSILON),
        }
    }

    /// Whether a number is finite in this type.
    pub(crate) fn holds(self, value: f64) -> bool {
        self.rounded(value).is_finite()
    }

    /// Refuses values, of so many in a row, that are beyond the range of this type.
    pub(crate) fn check(self, name: &str, values: &[f64], columns: usize) -> Result<()> {
        let Some(place) = values.iter().position(|value| !self.holds(*value)) else {
            return Ok(());
        };
        let (row, column) = (place / columns, place % columns);
        within(
            &format!("{name}[{row}, {column}]"),
            values[place],
            |value| self.holds(value),
            "numbers up to 3.4e38 in size, which float32 holds",
            "scale it, or compute in float64",
        )
    }
}

/// Where one layer's numbers lie: neurons are counted from the first input on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Layer {
    pub inputs: Range<usize>,
    pub outputs: Range<usize>,
    pub weights: Range<usize>,
    /// Empty without bias.
    pub biases: Range<usize>,
    pub hidden: bool,
}

impl Layer {
    /// Whether the layer's inputs are those of the network.
    pub fn is_first(&self) -> bool {
        self.inputs.start == 0
    }
}

impl Network {
    /// A network with the given numbers of neurons, from the inputs to the outputs.
    ///
    /// # Errors
    /// Fewer than two sizes, a size of zero, or more than 2^24 parameters.
    pub fn new(sizes: &[usize], activation: Activation) -> Result<Self> {
        Ok(Self {
            sizes: sizes.to_vec(),
            activation,
            output: Activation::Identity,
            gain: 1.0,
            negative_slope: 0.01,
            bias: false,
            loss: Loss::HalfSquaredError,
            dtype: Dtype::Float64,
            layers: layers(sizes, false)?,
        })
    }

    /// Every neuron adds a bias to its weighted sum; not by default.
    ///
    /// # Errors
    /// More than 2^24 parameters.
    pub fn with_bias(self, bias: bool) -> Result<Self> {
        Ok(Self {
            bias,
            layers: layers(&self.sizes, bias)?,
            ..self
        })
    }

    /// Sets the loss that training minimizes; half the squared error by default.
    #[must_use]
    pub fn with_loss(self, loss: Loss) -> Self {
        Self { loss, ..self }
    }

    /// Sets the activation of the outputs, after the loss; none by default. Cross-entropies
    /// have their own, of which the binary one is the sigmoid.
    ///
    /// # Errors
    /// An activation that is not the one of the cross-entropy.
    pub fn with_output(self, output: Activation) -> Result<Self> {
        let allowed = match self.loss {
            Loss::HalfSquaredError | Loss::Mse => return Ok(Self { output, ..self }),
            Loss::BinaryCrossEntropy => {
                "identity or sigmoid with binary_cross_entropy, both its own sigmoid"
            }
            Loss::SoftmaxCrossEntropy => {
                "identity with softmax_cross_entropy, which has an activation of its own"
            }
        };
        let own = self.loss == Loss::BinaryCrossEntropy && output == Activation::Sigmoid;
        if own || output == Activation::Identity {
            return Ok(Self { output, ..self });
        }
        Err(Error::Value {
            name: "output".into(),
            value: format!("'{}'", output.name()),
            allowed: Cow::Borrowed(allowed),
            fix: "choose mse or half_squared_error, or leave it out",
        })
    }

    /// See [`Network::with_output`].
    #[must_use]
    pub const fn output(&self) -> Activation {
        self.output
    }

    /// What turns the z of the outputs into ŷ, where the loss does not.
    #[inline(always)]
    pub(crate) fn output_activation(&self) -> Option<Activation> {
        let applies = self.output != Activation::Identity && !self.loss.is_cross_entropy();
        applies.then_some(self.output)
    }

    /// Sets the type of number to compute with; double precision by default.
    #[must_use]
    pub fn with_dtype(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }

    /// See [`Network::with_dtype`].
    #[must_use]
    pub const fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Numbers of neurons, from the inputs to the outputs.
    #[must_use]
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The activation of the hidden layers.
    #[must_use]
    pub const fn activation(&self) -> Activation {
        self.activation
    }

    /// See [`Network::with_bias`].
    #[must_use]
    pub const fn bias(&self) -> bool {
        self.bias
    }

    /// See [`Network::with_loss`].
    #[must_use]
    pub const fn loss(&self) -> Loss {
        self.loss
    }

    /// Hidden neurons compute φ(gain·z); 1 by default.
    ///
    /// # Errors
    /// A gain that is not a finite number above 0.
    pub fn with_gain(self, gain: f64) -> Result<Self> {
        let positive = |gain: f64| gain > 0.0 && gain.is_finite();
        let allowed = "finite numbers above 0";
        within("gain", gain, positive, allowed, "leave it out for 1")?;
        Ok(Self { gain, ..self })
    }

    /// The slope of leaky ReLU where z ≤ 0; 0.01 by default.
    ///
    /// # Errors
    /// A slope that is not a number from 0 to 1.
    pub fn with_negative_slope(self, negative_slope: f64) -> Result<Self> {
        let from_0_to_1 = |slope: f64| (0.0..=1.0).contains(&slope);
        within(
            "negative_slope",
            negative_slope,
            from_0_to_1,
            "numbers from 0 to 1",
            "leave it out for 0.01",
        )?;
        Ok(Self {
            negative_slope,
            ..self
        })
    }

    /// See [`Network::with_gain`].
    #[must_use]
    pub const fn gain(&self) -> f64 {
        self.gain
    }

    /// See [`Network::with_negative_slope`].
    #[must_use]
    pub const fn negative_slope(&self) -> f64 {
        self.negative_slope
    }

    /// The gains and the negative slope of all runs.
    pub(crate) fn gains(&self) -> NetworkGains {
        NetworkGains::new(&[self.gain], &[self.negative_slope])
    }

    /// The number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.sizes[0]
    }

    /// The number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// The number of parameters of one run.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.layers[self.layers.len() - 1].biases.end
    }

    /// The name of every parameter, in their order: `w1` for a layer with a single
    /// weight, else `w1_<neuron>_<input>`; `b1` or `b1_<neuron>`; counted from 1.
    #[must_use]
    pub fn parameter_names(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(self.parameters());
        for (index, layer) in self.layers.iter().enumerate() {
            let number = index + 1;
            let (inputs, outputs) = (layer.inputs.len(), layer.outputs.len());
            if layer.weights.len() == 1 {
                names.push(format!("w{number}"));
            } else {
                let pairs = (1..=outputs).flat_map(|o| (1..=inputs).map(move |i| (o, i)));
                names.extend(pairs.map(|(o, i)| format!("w{number}_{o}_{i}")));
            }
            match layer.biases.len() {
                0 => {}
                1 => names.push(format!("b{number}")),
                _ => names.extend((1..=outputs).map(|o| format!("b{number}_{o}"))),
            }
        }
        names
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) fn neurons(&self) -> usize {
        self.sizes.iter().sum()
    }
}

fn layers(sizes: &[usize], bias: bool) -> Result<Vec<Layer>> {
    let bad = |allowed, fix| {
        Err(Error::Value {
            name: "network sizes".into(),
            value: format!("{sizes:?}"),
            allowed: Cow::Borrowed(allowed),
            fix,
        })
    };
    if sizes.len() < 2 || sizes.contains(&0) {
        return bad(
            "two or more sizes, each at least 1",
            "give inputs, hidden layers and outputs, such as 1, 1, 1",
        );
    }
    let mut layers = Vec::with_capacity(sizes.len() - 1);
    let (mut neurons, mut parameters) = (0_usize, 0_usize);
    for (index, pair) in sizes.windows(2).enumerate() {
        let biases = if bias { pair[1] } else { 0 };
        let count = pair[0].checked_mul(pair[1]);
        let weights = count.and_then(|count| parameters.checked_add(count));
        let end = weights.and_then(|weights| weights.checked_add(biases));
        let Some(end) = end.filter(|end| *end <= MOST_PARAMETERS) else {
            return bad("at most 2^24 parameters", "make the layers smaller");
        };
        let outputs = neurons + pair[0];
        layers.push(Layer {
            inputs: neurons..outputs,
            outputs: outputs..outputs + pair[1],
            weights: parameters..end - biases,
            biases: end - biases..end,
            hidden: index + 2 < sizes.len(),
        });
        neurons = outputs;
        parameters = end;
    }
    Ok(layers)
}

// Gain and slope are never NaN, so equality is reflexive.
impl Eq for Network {}

impl Hash for Network {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sizes.hash(state);
        (self.activation, self.output).hash(state);
        (self.bias, self.loss, self.dtype).hash(state);
        self.gain.to_bits().hash(state);
        // The two zeros are equal.
        (self.negative_slope + 0.0).to_bits().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_named_in_the_order_of_the_flat_vector() {
        let guide = Network::new(&[1, 1, 1], Activation::Relu).unwrap();
        assert_eq!(guide.parameter_names(), ["w1", "w2"]);
        let wide = Network::new(&[2, 2, 1], Activation::Relu).unwrap();
        assert_eq!(
            wide.parameter_names(),
            ["w1_1_1", "w1_1_2", "w1_2_1", "w1_2_2", "w2_1_1", "w2_1_2"]
        );
        assert_eq!(wide.parameters(), 6);
        assert_eq!(
            wide.with_bias(true).unwrap().parameter_names()[4..],
            ["b1_1", "b1_2", "w2_1_1", "w2_1_2", "b2"]
        );
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for sizes in [&[][..], &[1], &[1, 0, 1], &[usize::MAX, 2, 1]] {
            let message = Network::new(sizes, Activation::Relu)
                .unwrap_err()
                .to_string();
            assert!(message.contains(&format!("{sizes:?}")), "{message}");
        }
    }
}
