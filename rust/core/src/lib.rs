//! Forward pass, backward pass and update for very many small networks at once.
//!
//! Every array has a leading *run* axis: a run is one network with its own starting
//! weights and learning rate, trained on data that all runs share. [`train`] takes
//! them all in one call, [`gradients`] and [`predict`] do one pass.
//!
//! The smallest case is the network of the guide, ŷ = w2·ReLU(w1·x) with
//! L = ½(y − ŷ)²: `Network::new(&[1, 1, 1], Activation::Relu)`. Its weights and
//! gradients are those of the guide's plain arithmetic, bit for bit, whatever the
//! number of threads or the width of the vector registers: no fused multiply-add, no
//! reordering, sums in the order of the data.
#![forbid(unsafe_code)]

mod activation;
mod alike;
mod curvature;
mod data;
mod dead;
mod deaths;
mod error;
mod evaluate;
mod groups;
mod highest;
mod history;
mod hyperparameters;
mod judge;
mod kernel;
mod lanes;
mod loss;
mod machine;
mod memory;
mod motion;
mod network;
mod optimizer;
mod outcome;
mod parallel;
mod peaks;
mod progress;
mod recent_losses;
mod record;
mod rest;
mod results;
mod run_loop;
mod schedule;
mod settings;
mod shuffle;
mod task;
mod train;
mod validation;
mod weights;

pub use activation::Activation;
pub use curvature::{curvature, Curvature, Ends};
pub use data::Data;
pub use error::{Error, Result};
pub use evaluate::{check_memory, gradients, predict, Gradients};
pub use hyperparameters::Hyperparameters;
pub use loss::Loss;
pub use machine::{threads, InstructionSet, Machine};
pub use memory::{collected, filled, room};
pub use network::{Dtype, Network};
pub use optimizer::Optimizer;
pub use outcome::{Outcome, Stall};
pub use progress::Progress;
pub use record::{Looks, PerQuantity, Quantity, Record};
pub use results::{Arrays, Training};
pub use schedule::{Decay, Schedule};
pub use settings::{Batches, EarlyStopping, Precision, Settings};
pub use task::Start;
pub use train::{train, train_into};
pub use weights::Weights;
